//! Who may use a route, as the description says it.

use serde_json::{Value, json};

use crate::http::access::routes::{Need, ROUTES};

/// The name of the one way to show who asks.
const TOKEN: &str = "token";

/// Describes tokens.
pub(super) fn schemes() -> Value {
    json!({ TOKEN: {
        "type": "http",
        "scheme": "bearer",
        "description": "A token that `relvec token create` made. It stands for a tenant, whose runs are all that it shows, and has \
            scopes; a route names the one that it needs, and `admin` holds all but `metrics`. A gateway on loopback that never had a token asks \
            for none.",
    }})
}

/// Adds to each route the scope that it needs, and the answers of who does not have it.
pub(super) fn add(document: &mut Value) {
    for (method, path, need) in ROUTES {
        let method = method.as_str().to_lowercase();
        let methods = document["paths"].get_mut(*path);
        let Some(operation) = methods.and_then(|methods| methods.get_mut(&method)) else {
            continue;
        };
        let scope = match need {
            Need::Scope(scope) => scope,
            Need::Nothing => {
                operation["security"] = json!([]);
                continue;
            }
            Need::More(scope) => {
                operation["security"] = json!([{}, { TOKEN: [scope.name()] }]);
                continue;
            }
        };
        // The empty one: there are gateways that ask for no token.
        operation["security"] = json!([{}, { TOKEN: [scope.name()] }]);
        let responses = &mut operation["responses"];
        responses["401"] = unauthorized();
        if responses.get("429").is_none() {
            responses["429"] =
                problem("the token asks too often, or the address shows too many wrong tokens");
        }
        responses["429"]["headers"]["Retry-After"] = json!({
            "description": "seconds to wait",
            "schema": {"type": "integer", "minimum": 1},
        });
    }
}

fn unauthorized() -> Value {
    let mut answer = problem("no token, or one that is not known, was revoked or is expired");
    answer["headers"]["WWW-Authenticate"] = json!({"schema": {"type": "string"}});
    answer
}

fn problem(description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({
        "description": description,
        "content": {"application/problem+json": {"schema": schema}},
    })
}
