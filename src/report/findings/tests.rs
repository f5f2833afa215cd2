use super::*;

fn found(path: &str, text: &str) -> Diagnostics {
    Diagnostics::new(path, text.into())
}

fn sarif_uri(path: &str) -> String {
    let mut found = found(path, "x");
    found.error("wrong", 0..1, "wrong", None);
    let log = sarif::log(&found.all(), true);
    let location = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let uri = location["artifactLocation"]["uri"].as_str();
    uri.expect("a URI").to_owned()
}

#[test]
fn paths_become_uri_references() {
    for (path, uri) in [
        ("graphs/default.toml", "graphs/default.toml"),
        ("./a.toml", "a.toml"),
        ("../a b.toml", "../a%20b.toml"),
        ("/tmp/100%/é#?.toml", "file:///tmp/100%25/%C3%A9%23%3F.toml"),
        ("shipped:default.toml", "shipped%3Adefault.toml"),
        ("<stdin>", "%3Cstdin%3E"),
    ] {
        assert_eq!(sarif_uri(path), uri);
    }
    let deep = format!("{}/a.toml", ["folder"; 40].join("/"));
    assert_eq!(sarif_uri(&deep), deep, "a long path is not cut");
}

#[test]
fn results_know_their_rules() {
    let mut found = found("g.toml", "é = 1\nb = 2\n");
    found.warning("odd", 3..4, "odd", None);
    found.error("wrong", 7..12, "wrong", Some("do right".to_owned()));
    found.error("wrong", 0..13, "all of it", None);
    let log = sarif::log(&found.all(), true);
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), 2);
    let results = run["results"].as_array().expect("results");
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
    }
    let levels: Vec<_> = results.iter().map(|it| it["level"].as_str()).collect();
    assert_eq!(levels, [Some("error"), Some("warning"), Some("error")]);
    assert_eq!(results[2]["message"]["text"], "wrong\ndo right");
    // Characters, not bytes: `é` has two of those.
    let region = &results[1]["locations"][0]["physicalLocation"]["region"];
    assert_eq!(
        (&region["startColumn"], &region["endColumn"]),
        (&3.into(), &4.into())
    );
    assert_eq!(run["columnKind"], "unicodeCodePoints");
}

#[test]
fn annotations_are_escaped_as_github_documents() {
    let mut found = found("./a,b:100%.toml", "x = 1\ny = 2");
    found.error("wrong", 0..7, "50%\r\nof: it, all", Some("next".to_owned()));
    found.warning("odd", 6..7, "odd", None);
    assert_eq!(
        github::annotations(&found.all()),
        "::error file=a%2Cb%3A100%25.toml,line=1,endLine=2,col=1,endColumn=2,title=wrong::50%25%0D%0Aof: it, all%0Anext\n\
         ::warning file=a%2Cb%3A100%25.toml,line=2,endLine=2,col=1,endColumn=2,title=odd::odd\n"
    );
}

#[test]
fn a_finding_of_a_shared_file_is_told_once() {
    let mut first = found("base.toml", "x");
    first.error("wrong", 0..1, "wrong", None);
    let second = first.clone();
    assert_eq!(distinct([&first, &second].into_iter()).len(), 1);
}
