//! The `http` probe: a GET that must be answered with 2xx. Redirects are not followed, since what answers at their end
//! may be another service; proxies are not used, since the question is about this machine.

use std::error::Error;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, header};

use super::postgres::is_hang_up;
use super::{ATTEMPT_LIMIT, Attempt, Reply, address, tcp};

/// Asks once.
pub(super) async fn ask(host: &str, port: u16, path: &str) -> Reply {
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("http://{}{slash}{path}", address(host, port));
    let client = Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(ATTEMPT_LIMIT)
        // A connection kept for the next probe would keep the service from draining.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("devctl/", env!("CARGO_PKG_VERSION")))
        .build();
    let client = match client {
        Ok(client) => client,
        Err(e) => return Reply::Unreached(format!("cannot ask {url}: {}", root(&e))),
    };
    match client.get(&url).send().await {
        Ok(response) => {
            let to = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            Reply::Reached(judge(response.status(), path, to))
        }
        Err(e) if e.is_builder() => {
            Reply::Reached(Attempt::Never { message: format!("`{url}` is not a URL: {}", root(&e)), hints: Vec::new() })
        }
        Err(e) => broken(&e, host, port),
    }
}

/// Tells readiness by the status.
fn judge(status: StatusCode, path: &str, to: Option<&str>) -> Attempt {
    if status.is_success() {
        return Attempt::Ready;
    }
    let answer = format!("GET {path} is answered with {status}");
    Attempt::NotYet(match to {
        Some(to) if status.is_redirection() => format!("{answer} to {to}: a redirect is not followed"),
        _ => answer,
    })
}

/// Says why there was no answer.
fn broken(error: &reqwest::Error, host: &str, port: u16) -> Reply {
    let io = chain(error).find_map(|e| e.downcast_ref::<std::io::Error>());
    match io {
        Some(io) if error.is_connect() => Reply::Unreached(tcp::unreached(host, port, io)),
        _ if error.is_connect() && error.is_timeout() => {
            Reply::Unreached(tcp::unreached(host, port, &std::io::ErrorKind::TimedOut.into()))
        }
        _ if error.is_connect() => {
            Reply::Unreached(format!("cannot connect to {}: {}", address(host, port), root(error)))
        }
        _ if error.is_timeout() => Reply::Reached(Attempt::NotYet(tcp::silent(host, port))),
        Some(io) if is_hang_up(io.kind()) => Reply::Reached(Attempt::NotYet(tcp::closed(host, port))),
        // The client's own word for it: there is no error of the system then.
        _ if root(error) == "connection closed before message completed" => {
            Reply::Reached(Attempt::NotYet(tcp::closed(host, port)))
        }
        _ => {
            Reply::Reached(Attempt::NotYet(format!("{} gives no answer in HTTP: {}", address(host, port), root(error))))
        }
    }
}

/// The error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// The first cause: the layers above only repeat that something failed.
fn root(error: &reqwest::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::*;

    async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "the request ends with an empty line");
        }
        request
    }

    /// Has the probe talk to a peer that answers the request with `answer` and hangs up.
    async fn ask_peer_that_says(answer: &str) -> (Reply, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let request = read_request(&mut stream).await;
            assert!(request.starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, "/health"), peer);
        (reply, port)
    }

    #[tokio::test]
    async fn the_status_decides() {
        for (status, attempt) in [
            ("200 OK", Attempt::Ready),
            ("204 No Content", Attempt::Ready),
            ("404 Not Found", Attempt::NotYet("GET /health is answered with 404 Not Found".into())),
            ("503 Service Unavailable", Attempt::NotYet("GET /health is answered with 503 Service Unavailable".into())),
            (
                "302 Found\r\nLocation: /login",
                Attempt::NotYet("GET /health is answered with 302 Found to /login: a redirect is not followed".into()),
            ),
        ] {
            let (reply, _) = ask_peer_that_says(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n")).await;
            assert_eq!(reply, Reply::Reached(attempt), "{status}");
        }
    }

    #[tokio::test]
    async fn a_body_that_never_ends_does_not_matter() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            // Until the probe is gone.
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, "/"), peer);
        assert_eq!(reply, Reply::Reached(Attempt::Ready));
    }

    #[tokio::test]
    async fn peers_that_hang_up_or_talk_otherwise_are_told_apart() {
        let (reply, port) = ask_peer_that_says("").await;
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(tcp::closed("127.0.0.1", port))));
        let (reply, port) = ask_peer_that_says("-ERR unknown command\r\n").await;
        let expected = format!("127.0.0.1:{port} gives no answer in HTTP: invalid HTTP version parsed");
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(expected)));
    }

    #[tokio::test]
    async fn a_peer_that_is_silent_is_given_up_within_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        };
        let (reply, ()) = tokio::join!(ask("127.0.0.1", port, "/"), peer);
        assert_eq!(reply, Reply::Reached(Attempt::NotYet(tcp::silent("127.0.0.1", port))));
    }

    #[tokio::test]
    async fn a_port_nobody_listens_on_is_not_reached() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        assert_eq!(ask("127.0.0.1", port, "/").await, Reply::Unreached(tcp::nobody("127.0.0.1", port)));
    }

    #[tokio::test]
    async fn a_host_that_makes_no_url_is_final() {
        let reply = ask("a b", 80, "/").await;
        assert!(matches!(reply, Reply::Reached(Attempt::Never { .. })), "{reply:?}");
    }
}
