//! The `redis` probe: `PING` must be answered with `PONG`; `-LOADING` is an answer, but no readiness.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, cmd};
use tokio::time::{Instant, timeout_at};

use super::opening::Opening;
use super::postgres::is_hang_up;
use super::{ATTEMPT_LIMIT, Attempt, Reply, address, last_line, tcp};

/// Asks once.
pub(super) async fn ask(host: &str, port: u16, password: Option<&str>) -> Reply {
    let deadline = Instant::now() + ATTEMPT_LIMIT;
    let stream = match tcp::connect(host, port, deadline).await {
        Ok(stream) => stream,
        Err(answer) => return Reply::Unreached(answer),
    };
    let (opening, foreign) = Opening::new(stream, begins_an_answer);
    let outcome = timeout_at(deadline, converse(opening, password)).await;
    Reply::Reached(match (foreign.get(), outcome) {
        (Some(line), _) => Attempt::Never {
            message: format!("{} is not Redis: it says `{line}`", address(host, port)),
            hints: vec!["set the port that Redis is published on".to_owned()],
        },
        (None, Ok(Ok(attempt))) => attempt,
        (None, Ok(Err(e))) => judge(&e, host, port),
        (None, Err(_)) => Attempt::NotYet(tcp::silent(host, port)),
    })
}

/// Authenticates where there is a password, and pings.
///
/// `AUTH` is sent by hand: the crate's own set-up hides what the server said behind "password authentication failed",
/// also when it said that it has no more room for clients.
async fn converse(stream: Opening, password: Option<&str>) -> Result<Attempt, RedisError> {
    let settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    // The deadline is the caller's.
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let (mut connection, driver) = MultiplexedConnection::new_with_config(&settings, stream, config).await?;
    let questions = async {
        if let Some(password) = password.filter(|password| !password.is_empty()) {
            cmd("AUTH").arg(password).query_async::<()>(&mut connection).await?;
        }
        match cmd("PING").query_async::<String>(&mut connection).await {
            Ok(pong) if pong == "PONG" => Ok(Attempt::Ready),
            Ok(other) => Ok(Attempt::NotYet(format!("`PING` is answered with `{other}`"))),
            Err(e) if e.code() == Some("LOADING") => Ok(Attempt::NotYet(loading(&e, &mut connection).await)),
            Err(e) => Err(e),
        }
    };
    tokio::pin!(questions, driver);
    // The driver ends first when the server hangs up; every question then has its error.
    tokio::select! {
        biased;
        answer = &mut questions => answer,
        () = &mut driver => questions.await,
    }
}

/// How far a server is that loads its data. `INFO` is answered while it does.
async fn loading(error: &RedisError, connection: &mut MultiplexedConnection) -> String {
    let info = cmd("INFO").arg("persistence").query_async::<String>(connection).await;
    match info.ok().as_deref().and_then(percent_loaded) {
        Some(percent) => format!("loading its data: {percent} %"),
        None => format!("loading its data: {}", said(error)),
    }
}

/// Reads the whole percents out of `INFO persistence`.
fn percent_loaded(info: &str) -> Option<u8> {
    let value = info.lines().find_map(|line| line.strip_prefix("loading_loaded_perc:"))?;
    value.trim().split('.').next()?.parse().ok()
}

/// Whether a Redis answer can begin so; all types of RESP2 and RESP3.
fn begins_an_answer(byte: u8) -> bool {
    b"+-:$*_#,(!=%~>|".contains(&byte)
}

/// Tells what passes from what does not.
fn judge(error: &RedisError, host: &str, port: u16) -> Attempt {
    match error.code() {
        Some(code) => judge_answer(code, said(error)),
        None => Attempt::NotYet(broken(error, host, port)),
    }
}

/// Judges what the server itself said.
fn judge_answer(code: &str, message: String) -> Attempt {
    const OTHER_PASSWORD: &str = "the server was started with another password (`requirepass`): use that one here";
    let hint = match code {
        "NOAUTH" => "the server wants a password, and none is configured here",
        "WRONGPASS" => OTHER_PASSWORD,
        "NOPERM" => "the user must be allowed to `PING`: see `ACL LIST` on the server",
        "DENIED" => "the server is in protected mode: give it a password, or start it with `--protected-mode no`",
        // How servers say it that have no code for it: 6.x, and 5.x for a wrong password.
        "ERR" if message.contains("without any password") => {
            "the server has no password: configure none here, or start it with `--requirepass`"
        }
        "ERR" if message.contains("invalid password") => OTHER_PASSWORD,
        // Loading, a busy script, no room for clients: that passes, and of the rest nobody knows.
        _ => return Attempt::NotYet(message),
    };
    Attempt::Never { message, hints: vec![hint.to_owned()] }
}

/// What the server said, without its code.
fn said(error: &RedisError) -> String {
    error.detail().and_then(last_line).or_else(|| last_line(&error.to_string())).unwrap_or_default()
}

/// Says how the conversation broke off, where the server said nothing itself.
fn broken(error: &RedisError, host: &str, port: u16) -> String {
    let io = std::error::Error::source(error).and_then(|e| e.downcast_ref::<std::io::Error>());
    if error.is_connection_dropped() || io.is_some_and(|e| is_hang_up(e.kind())) {
        tcp::closed(host, port)
    } else {
        format!("{}: {error}", address(host, port))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Has the probe talk to a peer that answers the first command with `answer` and hangs up.
    async fn ask_peer_that_says(answer: &[u8]) -> (Reply, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut command = [0; 14];
            stream.read_exact(&mut command).await.unwrap();
            assert_eq!(&command, b"*1\r\n$4\r\nPING\r\n");
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, None), peer);
        (reply, port)
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        for (code, text) in [
            ("ERR", "max number of clients reached"),
            ("MASTERDOWN", "Link with MASTER is down"),
            ("BUSY", "Redis is busy running a script"),
        ] {
            assert_eq!(judge_answer(code, text.to_owned()), Attempt::NotYet(text.to_owned()), "{code}");
        }
        for (code, text) in [
            ("NOAUTH", "Authentication required."),
            ("WRONGPASS", "invalid username-password pair or user is disabled."),
            ("DENIED", "Redis is running in protected mode"),
            ("ERR", "invalid password"),
            ("ERR", "AUTH <password> called without any password configured for the default user."),
        ] {
            let answer = judge_answer(code, text.to_owned());
            let Attempt::Never { message, hints } = answer else { panic!("{code} is final, got {answer:?}") };
            assert_eq!((message.as_str(), hints.len()), (text, 1), "{code}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_is_not_redis_is_named_by_its_words() {
        let (reply, port) = ask_peer_that_says(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let Reply::Reached(Attempt::Never { message, .. }) = reply else { panic!("{reply:?}") };
        assert_eq!(message, format!("127.0.0.1:{port} is not Redis: it says `HTTP/1.1 400 Bad Request`"));
    }

    #[tokio::test]
    async fn words_before_the_question_are_heard_too() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, None), peer);
        assert_eq!(reply, Reply::Reached(Attempt::NotYet("max number of clients reached".into())));
    }

    #[tokio::test]
    async fn a_peer_that_hangs_up_is_not_yet_ready() {
        let (reply, port) = ask_peer_that_says(b"").await;
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(tcp::closed("127.0.0.1", port))));
    }

    #[test]
    fn the_percents_are_read_out_of_info() {
        let info = "# Persistence\r\nloading:1\r\nloading_loaded_perc:41.98\r\nloading_eta_seconds:2\r\n";
        assert_eq!(percent_loaded(info), Some(41));
        assert_eq!(percent_loaded("# Persistence\r\nloading:0\r\n"), None);
    }
}
