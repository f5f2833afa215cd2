//! Files and graphs with their tags, parts of files, and archives.

use std::collections::BTreeMap;
use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::header::{CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE};
use tar::Archive;

use super::*;

impl Served {
    async fn get_with(
        &self,
        path: &str,
        headers: &[(reqwest::header::HeaderName, &str)],
    ) -> Response {
        let mut request = self.client.get(self.url(path));
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.send().await.unwrap()
    }

    async fn looked(&self) -> String {
        let run_id = id(&self.submit("look", &referring_job()).await).to_owned();
        self.until(&run_id, "succeeded").await;
        run_id
    }
}

#[tokio::test]
async fn what_the_client_has_is_not_sent_again() {
    let served = Served::new().await;
    let run_id = served.looked().await;
    for path in [
        format!("/artifacts/{run_id}/note.txt"),
        format!("/artifacts/{run_id}"),
        format!("/artifacts/{run_id}.tar.gz"),
        "/graphs".to_owned(),
        "/graphs/look".to_owned(),
        "/openapi.json".to_owned(),
    ] {
        let first = served.get(&path).await;
        assert_eq!(first.status(), StatusCode::OK, "{path}");
        let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(!first.bytes().await.unwrap().is_empty());
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            format!("\"other\", {tag}"),
            "*".to_owned(),
        ] {
            let again = served.get_with(&path, &[(IF_NONE_MATCH, &known)]).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path} {known}");
            assert_eq!(again.headers()[ETAG].to_str().unwrap(), tag);
            assert!(again.bytes().await.unwrap().is_empty());
        }
        let other = served
            .get_with(&path, &[(IF_NONE_MATCH, "\"other\"")])
            .await;
        assert_eq!(other.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_part_of_a_file_is_sent() {
    let served = Served::new().await;
    let run_id = served.looked().await;
    let path = format!("/artifacts/{run_id}/note.txt");
    let whole = served.get(&path).await;
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let tag = whole.headers()[ETAG].to_str().unwrap().to_owned();
    let part = served.get_with(&path, &[(RANGE, "bytes=2-")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[CONTENT_RANGE], "bytes 2-5/6");
    assert_eq!(part.text().await.unwrap(), "note");
    let behind = served.get_with(&path, &[(RANGE, "bytes=6-")]).await;
    assert_eq!(behind.headers()[CONTENT_RANGE], "bytes */6");
    problem(behind, 416).await;
    for ignored in ["bytes=4-2", "bytes=0-1,3-4", "lines=1-2", "what"] {
        let all = served.get_with(&path, &[(RANGE, ignored)]).await;
        assert_eq!(all.status(), StatusCode::OK, "{ignored}");
        assert_eq!(all.text().await.unwrap(), "a note");
    }
    for (condition, status) in [(tag.as_str(), 206), ("\"other\"", 200)] {
        let headers = [(RANGE, "bytes=0-1"), (IF_RANGE, condition)];
        let answer = served.get_with(&path, &headers).await;
        assert_eq!(answer.status().as_u16(), status, "{condition}");
    }
    let known = [(RANGE, "bytes=9-"), (IF_NONE_MATCH, tag.as_str())];
    let known = served.get_with(&path, &known).await;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn an_archive_holds_what_the_list_names() {
    let served = Served::new().await;
    let run_id = served.looked().await;
    let path = format!("/artifacts/{run_id}.tar.gz");
    let first = served.get(&path).await;
    assert_eq!(first.headers()["content-type"], "application/gzip");
    let first = first.bytes().await.unwrap();
    assert_eq!(first, served.get(&path).await.bytes().await.unwrap());
    let mut found = BTreeMap::new();
    let mut tar = Archive::new(GzDecoder::new(first.as_ref()));
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        found.insert(name, text);
    }
    let note = (format!("{run_id}/note.txt"), "a note".to_owned());
    assert_eq!(found, BTreeMap::from([note]));
    let missing = format!("/artifacts/{}.tar.gz", uuid::Uuid::nil());
    problem(served.get(&missing).await, 404).await;
    problem(served.get("/artifacts/x.tar.gz").await, 404).await;
}

#[tokio::test]
async fn a_file_that_was_changed_is_not_sent_as_the_runs() {
    let served = Served::new().await;
    let run_id = served.looked().await;
    let launch = launch(served.home.path()).await;
    let folder = launch.settings().artifacts(run_id.parse().unwrap());
    std::fs::write(folder.join("note.txt"), "b note").unwrap();
    let path = format!("/artifacts/{run_id}/note.txt");
    let changed = problem(served.get(&path).await, 404).await;
    assert!(changed["detail"].as_str().unwrap().contains("was changed"));
    let path = format!("/artifacts/{run_id}.tar.gz");
    let archive = served.client.get(served.url(&path)).send().await;
    // It breaks off, before its first byte or after.
    let is_broken = match archive {
        Ok(archive) => archive.bytes().await.is_err(),
        Err(error) => error.is_request(),
    };
    assert!(is_broken, "the archive breaks off");
}
