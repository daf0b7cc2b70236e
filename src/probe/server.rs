//! The `mysql`, `mongo`, `amqp`, `nats` and `server` probes: one question in the server's own protocol, or its greeting,
//! without credentials. A published port takes connections before anybody listens behind it; a word in the right
//! protocol comes from the server alone.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::{ATTEMPT_LIMIT, Attempt, Reply, address, last_line, tcp};

/// A protocol of which devctl knows one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `MySQL` and `MariaDB` greet.
    Mysql,
    /// `MongoDB` answers `hello`.
    Mongo,
    /// `RabbitMQ`: AMQP 0-9-1 answers its header.
    Amqp,
    /// NATS greets with `INFO`.
    Nats,
    /// A web server answers anything at all: what is not found was looked for.
    Web,
}

/// How much of an answer is read.
const ANSWER: usize = 4096;

impl Protocol {
    /// Its name in events.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mongo => "mongo",
            Self::Amqp => "amqp",
            Self::Nats => "nats",
            Self::Web => "server",
        }
    }

    /// What the server is asked; nothing where it speaks first.
    fn question(self) -> Vec<u8> {
        match self {
            Self::Mysql | Self::Nats => Vec::new(),
            Self::Mongo => hello(),
            Self::Amqp => b"AMQP\x00\x00\x09\x01".to_vec(),
            Self::Web => b"GET / HTTP/1.0\r\nUser-Agent: devctl\r\nConnection: close\r\n\r\n".to_vec(),
        }
    }

    /// What the first bytes of an answer say; `None` where they are too few to tell.
    fn judge(self, said: &[u8]) -> Option<Result<(), String>> {
        let strange = || {
            let text = String::from_utf8_lossy(said);
            let line = text.lines().next().and_then(last_line).unwrap_or_else(|| format!("{} bytes", said.len()));
            Some(Err(format!("says `{line}`")))
        };
        let begins = |expected: &[u8]| {
            if said.len() >= expected.len() {
                if said.starts_with(expected) { Some(Ok(())) } else { strange() }
            } else if expected.starts_with(said) {
                None
            } else {
                strange()
            }
        };
        match self {
            // Three bytes of length, the number 0, and the version of the protocol, or an error.
            Self::Mysql => match said {
                [_, _, _, 0, 10, ..] => Some(Ok(())),
                [_, _, _, 0, 0xff, rest @ ..] => {
                    let text = String::from_utf8_lossy(rest.get(2..).unwrap_or_default()).into_owned();
                    Some(Err(last_line(&text).unwrap_or_else(|| "refuses".to_owned())))
                }
                [_, _, _, 0] => None,
                [_, _, _, _, ..] => strange(),
                _ => None,
            },
            // Sixteen bytes of header, of which the last four are the kind of the answer.
            Self::Mongo => match said.get(12..16) {
                Some([0xdd, 7, 0, 0]) => Some(Ok(())),
                Some(_) => strange(),
                None => None,
            },
            // A method frame; another version's server says its own header, which is a word of a broker too.
            Self::Amqp => match said {
                [1, ..] | [b'A', b'M', b'Q', b'P', ..] => Some(Ok(())),
                [] | [b'A', ..] if said.len() < 4 => None,
                [..] => strange(),
            },
            Self::Nats => begins(b"INFO "),
            Self::Web => begins(b"HTTP/"),
        }
    }
}

/// `{hello: 1, $db: "admin"}` as a message of its own.
fn hello() -> Vec<u8> {
    let mut document = Vec::new();
    document.extend_from_slice(b"\x10hello\x00\x01\x00\x00\x00");
    document.extend_from_slice(b"\x02$db\x00\x06\x00\x00\x00admin\x00");
    document.push(0);
    let length = |bytes: usize| u32::try_from(bytes).expect("a few dozen").to_le_bytes();
    let mut body = vec![0, 0, 0, 0, 0];
    body.extend_from_slice(&length(document.len() + 4));
    body.extend_from_slice(&document);
    let mut message = length(body.len() + 16).to_vec();
    for field in [1_u32, 0, 2013] {
        message.extend_from_slice(&field.to_le_bytes());
    }
    message.extend_from_slice(&body);
    message
}

/// Asks once.
pub(super) async fn ask(protocol: Protocol, host: &str, port: u16) -> Reply {
    let deadline = Instant::now() + ATTEMPT_LIMIT;
    let stream = match tcp::connect(host, port, deadline).await {
        Ok(stream) => stream,
        Err(answer) => return Reply::Unreached(answer),
    };
    Reply::Reached(match timeout_at(deadline, converse(protocol, stream)).await {
        Ok(Some(Ok(()))) => Attempt::Ready,
        Ok(Some(Err(said))) => Attempt::NotYet(format!("{} {said}", address(host, port))),
        Ok(None) => Attempt::NotYet(tcp::closed(host, port)),
        Err(_) => Attempt::NotYet(tcp::silent(host, port)),
    })
}

/// Asks, and reads as much of the answer as it takes; `None` where the server hangs up.
async fn converse(protocol: Protocol, mut stream: TcpStream) -> Option<Result<(), String>> {
    let question = protocol.question();
    if !question.is_empty() {
        stream.write_all(&question).await.ok()?;
    }
    let mut said = Vec::new();
    while said.len() < ANSWER {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => said.extend_from_slice(&chunk[..read]),
        }
        if let Some(judged) = protocol.judge(&said) {
            return Some(judged);
        }
    }
    Some(Err("says a lot, and nothing of it is an answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_told_by_its_first_bytes() {
        let table: &[(Protocol, &[u8], Option<bool>)] = &[
            (Protocol::Mysql, b"\x4a\x00\x00", None),
            (Protocol::Mysql, b"\x4a\x00\x00\x00\x0a8.4.0\x00", Some(true)),
            (Protocol::Mysql, b"\x10\x00\x00\x00\xff\x10\x04Too many connections", Some(false)),
            (Protocol::Mysql, b"HTTP/1.1 400 Bad Request\r\n", Some(false)),
            (Protocol::Mongo, b"\x00\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00", None),
            (Protocol::Mongo, b"\x00\x01\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\xdd\x07\x00\x00", Some(true)),
            (Protocol::Mongo, b"-ERR unknown command\r\n", Some(false)),
            (Protocol::Amqp, b"\x01\x00\x00\x00\x00\x01\xf4\x00\x0a\x00\x0a", Some(true)),
            (Protocol::Amqp, b"AMQP\x00\x01\x00\x00", Some(true)),
            (Protocol::Amqp, b"A", None),
            (Protocol::Amqp, b"HTTP/1.1", Some(false)),
            (Protocol::Nats, b"INF", None),
            (Protocol::Nats, b"INFO {\"server_id\":\"x\"}\r\n", Some(true)),
            (Protocol::Nats, b"-ERR 'x'\r\n", Some(false)),
            (Protocol::Web, b"HTTP/1.1 404 Not Found\r\n", Some(true)),
            (Protocol::Web, b"HT", None),
            (Protocol::Web, b"220 mail\r\n", Some(false)),
        ];
        for (protocol, said, expected) in table {
            let judged = protocol.judge(said).map(|judged| judged.is_ok());
            assert_eq!(judged, *expected, "{protocol:?} {said:?}");
        }
        let words = Protocol::Mysql.judge(b"\x10\x00\x00\x00\xff\x10\x04Too many connections");
        assert_eq!(words, Some(Err("Too many connections".to_owned())));
    }

    #[test]
    fn the_question_to_mongo_says_its_own_length() {
        let hello = hello();
        let length = u32::from_le_bytes(hello[..4].try_into().unwrap()) as usize;
        let document = u32::from_le_bytes(hello[21..25].try_into().unwrap()) as usize;
        assert_eq!((length, document), (hello.len(), hello.len() - 21));
    }

    #[tokio::test]
    async fn whoever_takes_the_connection_and_hangs_up_is_not_ready() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut first, _) = listener.accept().await.unwrap();
            first.shutdown().await.unwrap();
            let (mut second, _) = listener.accept().await.unwrap();
            second.write_all(b"INFO {\"version\":\"2.10\"}\r\n").await.unwrap();
            (first, second)
        };
        let asked = async {
            let closed = ask(Protocol::Nats, "127.0.0.1", port).await;
            (closed, ask(Protocol::Nats, "127.0.0.1", port).await)
        };
        let ((closed, ready), _) = tokio::join!(asked, peer);
        assert_eq!(closed, Reply::Reached(Attempt::NotYet(tcp::closed("127.0.0.1", port))));
        assert_eq!(ready, Reply::Reached(Attempt::Ready));
    }
}
