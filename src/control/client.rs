//! The client: asks the devctl that runs a project, and follows what it says. Every wait has an end, and a stream that
//! breaks off goes on where it was.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::socket;
use super::wire::{
    API, API_HEADER, Apply, Down, EventLine, Kill, LogEntry, Problem, Reply, Restart, Scale, SignalName, Status,
};
use crate::advice::{Advice, Blame};
use crate::name::ServiceName;
use crate::os;

/// How long a supervisor may take to tell how things are. It does not wait for anything itself.
const ANSWER: Duration = Duration::from_secs(10);

/// How long it may take to take a command in: to apply one, it reads files and looks at the Docker Engine.
const COMMAND: Duration = Duration::from_secs(120);

/// How long a stream may be silent. Three empty lines are missing by then.
const SILENCE: Duration = Duration::from_secs(45);

/// How often a stream that breaks off is taken up again without anything having come.
const RETRIES: u32 = 5;

/// The pause before that.
const PAUSE: Duration = Duration::from_millis(100);

/// How many lines of each service are asked for to close the hole that a broken stream of lines leaves.
const LOOK_BACK: usize = 2_000;

/// The words that end a request that was read and is wrong.
const OTHER_API: &str = "urn:devctl:other-api";

/// What is said of a name that no service has.
const NO_SERVICE: &str = "urn:devctl:no-such-service";

/// Why the supervisor could not be asked, or what it said against it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody runs the project.
    #[error("nothing of this project runs: no devctl answers in `{}`", .root.display())]
    NoSupervisor {
        /// The project.
        root: PathBuf,
    },
    /// Somebody listens and says nothing.
    #[error("the devctl that runs the stack does not answer")]
    NoAnswer {
        /// Its socket.
        socket: PathBuf,
        /// What the connection said.
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
    /// It speaks another version.
    #[error("the devctl that runs the stack is another version: it speaks version {theirs} of the API, this one {API}")]
    OtherApi {
        /// Its version.
        theirs: String,
    },
    /// The socket is somebody else's.
    #[error("the control socket `{}` belongs to another user", .0.display())]
    Stranger(PathBuf),
    /// It refused.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// What it said makes no sense.
    #[error("the devctl that runs the stack said something that cannot be understood")]
    Nonsense(#[source] Box<dyn StdError + Send + Sync>),
}

impl ClientError {
    /// Whether another user runs the project: waiting changes nothing about that.
    pub fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger(_))
    }

    /// Whether it means that nobody runs the project.
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::NoSupervisor { .. })
    }
}

impl Advice for ClientError {
    fn blame(&self) -> Blame {
        match self {
            Self::NoSupervisor { .. } => Blame::Service,
            Self::NoAnswer { .. } | Self::OtherApi { .. } | Self::Stranger(_) => Blame::Environment,
            Self::Refused(problem) => match problem.status {
                400 | 404 | 422 => Blame::Configuration,
                _ => Blame::Service,
            },
            Self::Nonsense(_) => Blame::Bug,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoSupervisor { .. } => {
                vec!["start it with `devctl up -d`, or with `devctl up` in a terminal".to_owned()]
            }
            Self::NoAnswer { .. } => vec![
                "`devctl down` ends it without asking it".to_owned(),
                "`.devctl/supervisor.log` may tell why".to_owned(),
            ],
            Self::OtherApi { .. } => {
                vec!["run the stack anew with this devctl: `devctl down`, then `devctl up`".to_owned()]
            }
            Self::Stranger(_) => vec!["run devctl as the user who runs the stack".to_owned()],
            Self::Refused(problem) => problem.hints.clone(),
            Self::Nonsense(_) => Vec::new(),
        }
    }
}

/// Somebody who runs the project and can be asked. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    root: PathBuf,
    socket: PathBuf,
}

impl Client {
    /// Finds the supervisor of the project in `root`, makes sure that it can be talked to, and asks how it is.
    pub async fn connect(root: &Path) -> Result<(Self, Status), ClientError> {
        let nobody = || ClientError::NoSupervisor { root: root.to_owned() };
        let Some(socket) = socket::find(root) else { return Err(nobody()) };
        match os::socket::is_ours(&socket) {
            Ok(true) => {}
            Ok(false) => return Err(ClientError::Stranger(socket)),
            // A link that leads nowhere, to a socket that went with the last boot.
            Err(_) => return Err(nobody()),
        }
        let cannot = |source: Box<dyn StdError + Send + Sync>| ClientError::NoAnswer {
            socket: socket.clone(),
            source: Some(source),
        };
        let builder = os::socket::http_client(&socket).map_err(|error| cannot(error.into()))?;
        let http = builder.read_timeout(SILENCE).build().map_err(|error| cannot(error.into()))?;
        let client = Self { http, root: root.to_owned(), socket: socket.clone() };
        let status = client.status().await?;
        Ok((client, status))
    }

    /// How everything is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let response = self.send(Method::GET, url(&["status"]), None::<&()>, Some(ANSWER)).await?;
        self.read(response).await
    }

    /// Starts services; all where there are none.
    pub async fn start(&self, services: &[ServiceName]) -> Result<Reply, ClientError> {
        self.command(&["services", &names(services), "start"], None::<&()>).await
    }

    /// Stops services; all where there are none.
    pub async fn stop(&self, services: &[ServiceName]) -> Result<Reply, ClientError> {
        self.command(&["services", &names(services), "stop"], None::<&()>).await
    }

    /// Starts services anew; all where there are none.
    pub async fn restart(&self, services: &[ServiceName], build: bool) -> Result<Reply, ClientError> {
        self.command(&["services", &names(services), "restart"], Some(&Restart { build })).await
    }

    /// Sends a signal to services.
    pub async fn kill(&self, services: &[ServiceName], signal: SignalName) -> Result<Reply, ClientError> {
        self.command(&["services", &names(services), "kill"], Some(&Kill { signal })).await
    }

    /// Runs so many replicas of a service.
    pub async fn scale(&self, service: &ServiceName, replicas: u32) -> Result<Reply, ClientError> {
        self.command(&["services", service.as_str(), "scale"], Some(&Scale { replicas })).await
    }

    /// Brings the stack to what the manifest says.
    pub async fn apply(&self, apply: &Apply) -> Result<Reply, ClientError> {
        self.command(&["apply"], Some(apply)).await
    }

    /// Applies what changed in the project's files.
    pub async fn reload(&self) -> Result<Reply, ClientError> {
        self.command(&["reload"], None::<&()>).await
    }

    /// Has everything taken down.
    pub async fn down(&self, down: &Down) -> Result<Reply, ClientError> {
        self.command(&["down"], Some(down)).await
    }

    /// Follows the events of run `run` from number `from` on.
    pub fn events(&self, run: &str, from: u64) -> Events {
        Events { client: self.clone(), run: run.to_owned(), at: from.max(1), lines: Lines::default(), retries: 0 }
    }

    /// Follows what services of run `run` print; all of them where there are none. Begins with the last `tail` lines of
    /// each.
    pub fn logs(&self, run: &str, services: &[ServiceName], tail: usize) -> Logs {
        let services = (!services.is_empty()).then(|| names(services));
        Logs {
            client: self.clone(),
            run: run.to_owned(),
            services,
            tail,
            last: None,
            lines: Lines::default(),
            retries: 0,
        }
    }

    async fn command(&self, path: &[&str], body: Option<&impl Serialize>) -> Result<Reply, ClientError> {
        let response = self.send(Method::POST, url(path), body, Some(COMMAND)).await?;
        self.read(response).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<&impl Serialize>,
        limit: Option<Duration>,
    ) -> Result<Response, ClientError> {
        let mut request = self.http.request(method, url).header(API_HEADER, API);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(limit) = limit {
            request = request.timeout(limit);
        }
        let response = request.send().await.map_err(|error| self.unheard(error))?;
        let theirs = response.headers().get(API_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if let Some(theirs) = theirs.filter(|theirs| *theirs != API.to_string()) {
            return Err(ClientError::OtherApi { theirs });
        }
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = response.bytes().await.map_err(|error| self.unheard(error))?;
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) if problem.r#type == OTHER_API => Err(ClientError::OtherApi { theirs: problem.detail }),
            Ok(problem) => Err(ClientError::Refused(problem)),
            Err(_) => Err(ClientError::Nonsense(format!("it answered {status}").into())),
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ClientError> {
        let bytes = response.bytes().await.map_err(|error| self.unheard(error))?;
        serde_json::from_slice(&bytes).map_err(|error| ClientError::Nonsense(error.into()))
    }

    /// What it means that no answer came.
    fn unheard(&self, error: reqwest::Error) -> ClientError {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(error) = cause {
            let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
            // Nobody listens at the socket any more, or its file is gone.
            if matches!(kind, Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)) {
                return ClientError::NoSupervisor { root: self.root.clone() };
            }
            // Root's, whom we would trust, and who does not trust us.
            if kind == Some(io::ErrorKind::PermissionDenied) {
                return ClientError::Stranger(self.socket.clone());
            }
            cause = error.source();
        }
        ClientError::NoAnswer { socket: self.socket.clone(), source: Some(error.into()) }
    }

    /// Opens a stream again after it broke off; `None` where its run is over.
    async fn open_again(&self, run: &str, url: Url) -> Result<Option<Response>, ClientError> {
        match self.status().await {
            Ok(status) if status.run == run => {}
            Ok(_) => return Ok(None),
            Err(error) if error.is_nobody() => return Ok(None),
            Err(error) => return Err(error),
        }
        match self.send(Method::GET, url, None::<&()>, None).await {
            Ok(response) => Ok(Some(response)),
            Err(error) if error.is_nobody() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl ClientError {
    /// Whether it means that there is no service of that name.
    pub fn is_no_service(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.r#type == NO_SERVICE)
    }
}

/// Names of replicas have a `#` in them, which must not be taken for the end of the path.
fn url(path: &[&str]) -> Url {
    let mut url = Url::parse("http://devctl/v1").expect("it is a URL");
    url.path_segments_mut().expect("it has a path").extend(path);
    url
}

fn names(services: &[ServiceName]) -> String {
    if services.is_empty() {
        return "*".to_owned();
    }
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(",")
}

/// Events as they come. See [`Client::events`].
pub struct Events {
    client: Client,
    run: String,
    at: u64,
    lines: Lines,
    retries: u32,
}

impl Events {
    /// The next event or gap; `None` once the run is over. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Option<EventLine>, ClientError> {
        loop {
            if !self.lines.is_open() {
                let mut url = url(&["events"]);
                url.query_pairs_mut().append_pair("from", &self.at.to_string()).append_pair("follow", "true");
                match self.client.open_again(&self.run, url).await? {
                    Some(response) => self.lines.open(response),
                    None => return Ok(None),
                }
            }
            match self.lines.next::<EventLine>().await {
                Ok(Some(line)) => {
                    self.retries = 0;
                    self.at = match &line {
                        EventLine::Gap { gap, .. } => gap.to,
                        EventLine::Event(numbered) => numbered.seq + 1,
                    };
                    return Ok(Some(line));
                }
                Ok(None) => return Ok(None),
                Err(broken) => retry(&self.client, &mut self.retries, broken).await?,
            }
        }
    }

    /// The number of the next event.
    pub fn at(&self) -> u64 {
        self.at
    }
}

/// Lines of log as they come. See [`Client::logs`].
pub struct Logs {
    client: Client,
    run: String,
    services: Option<String>,
    tail: usize,
    /// When the last line that was given was printed.
    last: Option<jiff::Timestamp>,
    lines: Lines,
    retries: u32,
}

impl Logs {
    /// The next line, or how many are missing; `None` once the run is over. Cancelling loses nothing.
    pub async fn next(&mut self) -> Result<Option<LogEntry>, ClientError> {
        loop {
            if !self.lines.is_open() {
                // After a break, what was printed meanwhile is among the last lines, and what is known already too.
                let tail = if self.last.is_some() { LOOK_BACK } else { self.tail };
                let mut url = url(&["logs"]);
                url.query_pairs_mut().append_pair("tail", &tail.to_string()).append_pair("follow", "true");
                if let Some(services) = &self.services {
                    url.query_pairs_mut().append_pair("service", services);
                }
                match self.client.open_again(&self.run, url).await? {
                    Some(response) => self.lines.open(response),
                    None => return Ok(None),
                }
                self.lines.known_until = self.last;
            }
            match self.lines.next::<LogEntry>().await {
                Ok(Some(LogEntry::Line { at, .. })) if self.lines.known_until.is_some_and(|known| at <= known) => {}
                Ok(Some(entry)) => {
                    self.retries = 0;
                    if let LogEntry::Line { at, .. } = &entry {
                        self.last = Some(*at);
                    }
                    return Ok(Some(entry));
                }
                Ok(None) => return Ok(None),
                Err(broken) => retry(&self.client, &mut self.retries, broken).await?,
            }
        }
    }
}

/// Gives a stream that broke off another try, unless too many came to nothing.
async fn retry(client: &Client, retries: &mut u32, broken: Broken) -> Result<(), ClientError> {
    let broken = match broken {
        Broken::Nonsense(error) => return Err(ClientError::Nonsense(error.into())),
        Broken::Connection(error) => error,
    };
    *retries += 1;
    if *retries > RETRIES {
        return Err(client.unheard(broken));
    }
    tokio::time::sleep(PAUSE).await;
    Ok(())
}

/// Lines of JSON out of an answer that goes on and on.
#[derive(Default)]
struct Lines {
    response: Option<Response>,
    /// What came after the last newline.
    rest: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
    known_until: Option<jiff::Timestamp>,
}

enum Broken {
    Connection(reqwest::Error),
    Nonsense(serde_json::Error),
}

impl Lines {
    fn is_open(&self) -> bool {
        self.response.is_some()
    }

    fn open(&mut self, response: Response) {
        *self = Self { response: Some(response), ..Self::default() };
    }

    /// The next line; `None` at the end. After an error it is closed.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Broken> {
        loop {
            if let Some(line) = self.whole.pop_front() {
                return serde_json::from_slice(&line).map(Some).map_err(Broken::Nonsense);
            }
            let Some(response) = &mut self.response else { return Ok(None) };
            match response.chunk().await {
                Ok(Some(chunk)) => self.take(&chunk),
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.response = None;
                    return Err(Broken::Connection(error));
                }
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        let mut chunk = chunk;
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let mut line = std::mem::take(&mut self.rest);
            line.extend_from_slice(&chunk[..end]);
            // An empty line says that somebody is there.
            if !line.trim_ascii().is_empty() {
                self.whole.push_back(line);
            }
            chunk = &chunk[end + 1..];
        }
        self.rest.extend_from_slice(chunk);
    }
}
