use serde_json::json;

use super::*;
use crate::allowed::Allowed;

fn prompt() -> Prompt {
    Prompt {
        instruction: "Choose.".to_owned(),
        data: json!({"a": 1}),
        answer_schema: json!({
            "type": "object", "additionalProperties": false, "required": ["type"],
            "properties": {"type": {"type": "array", "items": {"type": "string", "enum": ["object"]}}},
        }),
        answer_tokens: 500,
    }
}

fn key() -> SecretString {
    SecretString::from("hunter2")
}

#[test]
fn the_request_of_gemini_has_its_schema_language_and_never_the_key() {
    let model =
        Gemini::new(None, "gemini-2.5-flash", key(), &Allowed::everything()).expect("valid");
    let request = model.request(&prompt());
    assert_eq!(
        request["url"],
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
    );
    assert!(!request.to_string().contains("hunter2"));
    let config = &request["body"]["generationConfig"];
    assert_eq!(config["maxOutputTokens"], 500);
    // A property may be called `type`; only keywords are translated.
    assert_eq!(
        config["responseSchema"],
        json!({"type": "OBJECT", "required": ["type"], "properties": {
            "type": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["object"]}},
        }})
    );
}

#[test]
fn the_request_of_openai_has_the_schema_as_it_is_and_never_the_key() {
    let model =
        OpenAi::new(None, "gpt-4.1-mini", Some(key()), &Allowed::everything()).expect("valid");
    let request = model.request(&prompt());
    assert_eq!(request["url"], "https://api.openai.com/v1/chat/completions");
    assert!(!request.to_string().contains("hunter2"));
    let body = &request["body"];
    assert_eq!(
        body["response_format"]["json_schema"]["schema"],
        prompt().answer_schema
    );
    assert_eq!(body["max_completion_tokens"], 500);
    assert!(body.get("max_tokens").is_none());
}

#[test]
fn a_server_of_ones_own_needs_no_key() {
    let model = OpenAi::new(
        Some("http://localhost:11434/v1/"),
        "llama3.1:8b",
        None,
        &Allowed::everything(),
    )
    .expect("valid");
    let request = model.request(&prompt());
    assert_eq!(request["url"], "http://localhost:11434/v1/chat/completions");
    assert_eq!(request["body"]["max_tokens"], 500);
    assert_eq!(request["body"]["model"], "llama3.1:8b");
}

#[test]
fn refuses_names_and_addresses_that_are_none() {
    assert!(Gemini::new(None, "../../x", key(), &Allowed::everything()).is_err());
    assert!(Gemini::new(Some("file:///etc"), "m", key(), &Allowed::everything()).is_err());
    assert!(OpenAi::new(Some("ftp://h"), "m", None, &Allowed::everything()).is_err());
    assert!(OpenAi::new(None, "", None, &Allowed::everything()).is_err());
    let error = Gemini::new(
        Some("https://u:hunter2@h/"),
        "m",
        key(),
        &Allowed::everything(),
    )
    .err()
    .expect("refused");
    assert!(!error.to_string().contains("hunter2"));
}
