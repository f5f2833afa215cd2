//! Handlers with the names and kinds of the real ones, which do what the job's `script` says: graphs run without a database.

use std::sync::Arc;
use std::time::Duration;

use relvec::graph::context::Context;
use relvec::graph::event::Question;
use relvec::graph::handler::{
    ErasedHandler, HandlerError, HandlerFuture, HandlerType, Interface, NoParams, OutputSchema,
    ParamError,
};
use relvec::graph::output::{Kind, Outputs, Read};
use serde::Deserialize as _;
use serde_json::{Value, json};

struct Scripted(&'static str);

impl ErasedHandler for Scripted {
    fn interface(&self) -> Interface {
        let of_this = HANDLERS.iter().find(|handler| handler.name == self.0);
        let interface = of_this.and_then(|handler| handler.interface);
        interface.expect("a handler of the table")()
    }

    fn run<'a>(&'a self, outputs: &'a Outputs, ctx: &'a Context) -> HandlerFuture<'a> {
        let job = outputs.get(&Kind::new("job")).cloned().unwrap_or_default();
        Box::pin(async move {
            let script = &job["script"][self.0];
            match script.as_str() {
                None => Ok(if script.is_null() {
                    json!({})
                } else {
                    script.clone()
                }),
                Some("fail") => Err(HandlerError::permanent("scripted failure")),
                Some("hang") => {
                    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
                    Ok(json!({}))
                }
                Some("ask") => {
                    ctx.ask(question("which"));
                    Ok(json!({}))
                }
                Some("gate") => {
                    ctx.ask(question("accept"));
                    match ctx.answer("accept") {
                        Some(answer) if answer.choice == "approve" => Ok(json!({"approved": true})),
                        Some(_) => Err(HandlerError::permanent("rejected")),
                        None => Err(HandlerError::parked("it waits for `accept`")),
                    }
                }
                Some(other) => panic!("no such script: {other}"),
            }
        })
    }
}

fn question(id: &str) -> Question {
    Question {
        id: id.to_owned(),
        stage: String::new(),
        text: "which one?".to_owned(),
        choices: vec!["approve".to_owned(), "reject".to_owned()],
        default: None,
        expires_at: None,
        blocking: true,
    }
}

fn reads(required: &[&'static str], optional: &[&'static str]) -> Vec<Read> {
    let read = |required: bool| {
        move |name: &&'static str| Read {
            kind: Kind::new(name),
            required,
        }
    };
    required
        .iter()
        .map(read(true))
        .chain(optional.iter().map(read(false)))
        .collect()
}

macro_rules! scripted {
    ($($name:literal reads [$($required:literal),*] and perhaps [$($optional:literal),*] writes $writes:literal;)*) => {
        /// The nine stages.
        pub static HANDLERS: &[HandlerType] = &[$(HandlerType {
            name: $name,
            summary: "for tests",
            side_effects: false,
            for_people: false,
            may_block: true,
            interface: Some(|| Interface {
                reads: reads(&[$($required),*], &["job", $($optional),*]),
                writes: Kind::new($writes),
                schema: OutputSchema::Of(|| json!({"type": "object"})),
            }),
            params_schema: || json!({"type": "object", "additionalProperties": false}),
            build: |params: Value| match NoParams::deserialize(params) {
                Ok(NoParams {}) => Ok(Arc::new(Scripted($name))),
                Err(error) => Err(ParamError { key: None, message: error.to_string() }),
            },
        }),*];
    };
}

scripted! {
    "collect_metadata" reads ["job"] and perhaps [] writes "raw_metadata";
    "normalize_schema" reads ["raw_metadata"] and perhaps [] writes "schema_context";
    "analyzer" reads ["schema_context"] and perhaps [] writes "migration_plan";
    "llm_advisor" reads ["migration_plan"] and perhaps [] writes "llm_advice";
    "code_generator" reads ["migration_plan"] and perhaps ["llm_advice"] writes "generated_code";
    "infra_generator" reads ["generated_code"] and perhaps [] writes "generated_infra";
    "executor" reads ["generated_code", "generated_infra"] and perhaps [] writes "execution_report";
    "run_validation" reads ["migration_plan"] and perhaps ["execution_report"] writes "validation_report";
    "gate_review" reads [] and perhaps ["migration_plan", "execution_report", "validation_report"] writes "gate_decision";
}
