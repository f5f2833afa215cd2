//! What stands in the environment and in the files of whoever runs relvec stays there: a connection has what its URL says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;

use crate::relvec::Relvec;

/// What a client said of itself before the server let it in.
#[derive(Debug, Default)]
struct Said {
    startup: String,
    password: Vec<u8>,
}

/// Plays PostgreSQL as far as to the password, which it asks for in clear text.
fn postgres(listener: &TcpListener) -> Said {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream
        .set_read_timeout(Some(crate::gateway::PATIENCE))
        .expect("a timeout");
    let mut message = sized(&mut stream);
    if message == 80_877_103_u32.to_be_bytes() {
        stream.write_all(b"N").expect("written");
        message = sized(&mut stream);
    }
    let startup = String::from_utf8_lossy(&message).replace('\0', " ");
    stream.write_all(b"R\0\0\0\x08\0\0\0\x03").expect("written");
    let mut kind = [0];
    stream.read_exact(&mut kind).expect("a message");
    assert_eq!(&kind, b"p", "the password");
    let password = sized(&mut stream);
    let refusal = b"SFATAL\0C28P01\0Mno entry\0\0";
    let length = u32::try_from(refusal.len() + 4)
        .expect("short")
        .to_be_bytes();
    let answer = [b"E".as_slice(), &length, refusal].concat();
    stream.write_all(&answer).expect("written");
    Said { startup, password }
}

fn sized(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).expect("a length");
    let length = u32::from_be_bytes(length) as usize;
    assert!((4..10_000).contains(&length), "{length}");
    let mut message = vec![0; length - 4];
    stream.read_exact(&mut message).expect("a message");
    message
}

#[test]
fn neither_variables_nor_the_password_file_reach_a_connection() {
    let relvec = Relvec::alone();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let home = relvec.path("user");
    std::fs::create_dir(&home).expect("a folder");
    let pgpass = home.join(".pgpass");
    std::fs::write(&pgpass, "*:*:*:*:leaked-by-pgpass\n").expect("a file");
    std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let server = std::thread::spawn(move || postgres(&listener));
    let url = format!("postgres://reader@127.0.0.1:{port}/shop");
    let port = port.to_string();
    let ended = relvec.call_with(
        &["inspect", &url],
        &[
            ("HOME", home.to_str().expect("UTF-8")),
            ("PGPASSFILE", pgpass.to_str().expect("UTF-8")),
            ("PGPASSWORD", "leaked-by-variable"),
            ("PGUSER", "leaked-user"),
            ("PGDATABASE", "leaked-database"),
            ("PGAPPNAME", "leaked-name"),
            ("PGHOST", "leaked.example.invalid"),
            ("PGHOSTADDR", "192.0.2.1"),
            ("PGPORT", &port),
            ("PGSSLMODE", "verify-full"),
            ("MYSQL_PWD", "leaked-too"),
            ("MYSQL_HOST", "leaked.example.invalid"),
        ],
    );
    let said = server.join().expect("the server");
    assert_eq!(said.password, b"\0", "an empty password: {said:?}");
    assert!(
        said.startup.contains("user reader ") && said.startup.contains("database shop "),
        "{said:?}"
    );
    assert!(!said.startup.contains("leaked"), "{said:?}");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("the URL has no password") && !ended.stderr.contains("leaked"),
        "{ended:?}"
    );
}

#[test]
fn a_password_in_a_message_is_masked_wherever_it_came_from() {
    let relvec = Relvec::alone();
    for arguments in [
        &[
            "inspect",
            "postgres://u:hunter2@nowhere.example.invalid/d?sslmode=hunter2",
        ][..],
        &[
            "inspect",
            "postgres://u:hunter2@nowhere.example.invalid:99999/d",
        ],
        &["inspect", "oracle://u:hunter2@h/d"],
        &[
            "run",
            "postgres://u:hunter2@h/d",
            "--input",
            "postgres://u:hunter2@h/d",
        ],
        &["graph", "https://u:hunter2@h/graph.toml"],
    ] {
        let ended = relvec.call_with(arguments, &[("RELVEC_LOG", "trace")]);
        assert_ne!(ended.code, 0, "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!said.contains("hunter2"), "{said}");
        assert!(!said.is_empty());
    }
}
