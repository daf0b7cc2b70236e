//! Whose answer it was: an answer on the right port proves nothing while a stranger may be giving it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Attempt;
use crate::driver::{Control, Listener};
use crate::name::ServiceName;
use crate::os::ports;

/// How long until a stranger is looked at a second time. A listener that was just handed from one process of the
/// workload to another may for a moment look like nobody's child.
const SECOND_LOOK: Duration = Duration::from_millis(20);

/// What is known of the owner of one port, for as long as one workload is probed. Linux walks all of its connections to
/// list listeners, which costs milliseconds, so a listener that was found to be the workload's is not looked for again.
#[derive(Default)]
pub(super) struct Proof {
    given: AtomicBool,
}

impl Proof {
    /// Takes an answer that came from `port` as the workload's, unless somebody else listens there.
    ///
    /// A stranger is final at once: the workload cannot bind that port any more, and no later answer would be its own.
    /// Without a workload of ours there is nobody whose ownership could be proven.
    pub(super) async fn check(
        &self,
        answer: Attempt,
        port: u16,
        service: &ServiceName,
        control: Option<&dyn Control>,
    ) -> Attempt {
        let Some(control) = control else { return answer };
        if self.given.load(Ordering::Relaxed) {
            return answer;
        }
        let mut listener = control.listener(port);
        if matches!(listener, Listener::Stranger(_)) {
            tokio::time::sleep(SECOND_LOOK).await;
            listener = control.listener(port);
        }
        match listener {
            Listener::Ours => {
                self.given.store(true, Ordering::Relaxed);
                answer
            }
            Listener::Unknown => answer,
            Listener::Nobody if matches!(answer, Attempt::NotYet(_)) => answer,
            Listener::Nobody => {
                Attempt::NotYet(format!("port {port} is answered, but `{service}` itself does not listen on it"))
            }
            Listener::Stranger(who) => Attempt::Never {
                message: format!("port {port} is answered by {who}, not by this service"),
                hints: hints(port, service),
            },
        }
    }
}

/// How to get the port back.
fn hints(port: u16, service: &ServiceName) -> Vec<String> {
    let mut hints: Vec<String> =
        ports::owners(port).first().and_then(|owner| owner.how_to_stop(port)).into_iter().collect();
    hints.push(format!("or give `{service}` another `port`"));
    hints
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Mutex;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::driver::{DriverError, ExecOutput, Health};
    use crate::os::process::Kill;

    /// A workload that only knows about its port; the answers are given in turn, the last one for ever.
    struct Claims(Mutex<Vec<Listener>>);

    impl Control for Claims {
        fn listener(&self, _: u16) -> Listener {
            let mut left = self.0.lock().unwrap();
            if left.len() > 1 { left.remove(0) } else { left[0].clone() }
        }

        fn stop(&self, _: Duration) -> BoxFuture<'static, Result<(), DriverError>> {
            unreachable!("a probe stops nothing")
        }

        fn signal(&self, _: Kill) -> BoxFuture<'static, Result<(), DriverError>> {
            unreachable!("a probe signals nothing")
        }

        fn kill(&self) -> BoxFuture<'static, Result<(), DriverError>> {
            unreachable!("a probe kills nothing")
        }

        fn exec(&self, _: Vec<String>) -> BoxFuture<'static, Result<ExecOutput, DriverError>> {
            unreachable!("ownership needs no command")
        }

        fn health(&self) -> BoxFuture<'static, Result<Health, DriverError>> {
            unreachable!("ownership needs no health")
        }
    }

    async fn judge(claims: Vec<Listener>, port: u16) -> Attempt {
        let service = "api".parse().unwrap();
        Proof::default().check(Attempt::Ready, port, &service, Some(&Claims(Mutex::new(claims)))).await
    }

    #[tokio::test]
    async fn only_a_listener_that_may_be_ours_is_believed() {
        assert_eq!(judge(vec![Listener::Ours], 1).await, Attempt::Ready);
        assert_eq!(judge(vec![Listener::Unknown], 1).await, Attempt::Ready);
        assert_eq!(
            judge(vec![Listener::Nobody], 1).await,
            Attempt::NotYet("port 1 is answered, but `api` itself does not listen on it".into())
        );
        let service = "api".parse().unwrap();
        assert_eq!(Proof::default().check(Attempt::Ready, 1, &service, None).await, Attempt::Ready);
    }

    #[tokio::test]
    async fn a_stranger_is_final_and_can_be_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id();
        let stranger = Listener::Stranger(format!("pid {pid} (a test)"));
        assert_eq!(
            judge(vec![stranger], port).await,
            Attempt::Never {
                message: format!("port {port} is answered by pid {pid} (a test), not by this service"),
                hints: vec![ports::owners(port)[0].how_to_stop(port).unwrap(), "or give `api` another `port`".into()],
            }
        );
    }

    #[tokio::test]
    async fn a_stranger_that_turns_out_to_be_ours_is_no_stranger() {
        let claims = vec![Listener::Stranger("pid 7".into()), Listener::Ours];
        assert_eq!(judge(claims, 1).await, Attempt::Ready);
    }

    #[tokio::test]
    async fn a_proof_is_asked_for_once() {
        let service = "api".parse().unwrap();
        let claims = Claims(Mutex::new(vec![Listener::Nobody, Listener::Ours, Listener::Nobody]));
        let proof = Proof::default();
        for ready in [false, true, true] {
            let answer = proof.check(Attempt::Ready, 1, &service, Some(&claims)).await;
            assert_eq!(answer == Attempt::Ready, ready);
        }
    }
}
