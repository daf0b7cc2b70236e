//! What lines of logs, answers of probes and errors mean: the habits of runtimes, servers and systems. Knows texts and
//! no services.

use regex::Regex;

/// What a line says is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Somebody else has the port.
    PortTaken(Option<u16>),
    /// A module, package or shared library is not there.
    Module { name: String, of: Language },
    /// A program is not there.
    Program(String),
    /// A file or folder is not there.
    File(Option<String>),
    /// The system refused.
    Permission,
    /// The password, user or token is wrong.
    Password(Option<String>),
    /// The database is not there.
    Database(String),
    /// The database has no such user.
    Role(String),
    /// The database has no such table.
    Table(String),
    /// Nobody takes connections there.
    Refused { port: Option<u16> },
    /// A host's name is not known.
    Host(String),
    /// There is no memory left.
    Memory,
    /// A variable of the environment is not set.
    Variable(String),
}

/// Whose module is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
    Ruby,
    /// A shared library.
    System,
}

/// Reads lines. Built once for each question: the patterns are compiled.
pub(super) struct Patterns {
    port_taken: Regex,
    python: Regex,
    node: Regex,
    ruby: Regex,
    library: Regex,
    program: Regex,
    file: Regex,
    permission: Regex,
    password: Regex,
    database: Regex,
    role: Regex,
    table: Regex,
    refused: Regex,
    host: Regex,
    memory: Regex,
    variables: [Regex; 4],
    quoted: Regex,
    port: Regex,
    listening: Regex,
}

impl Patterns {
    pub(super) fn new() -> Self {
        let regex = |pattern: &str| Regex::new(pattern).expect("the patterns are constants and tested");
        Self {
            port_taken: regex(
                r"(?i)address (?:is )?already in use|EADDRINUSE|port \d+ (?:is )?(?:already )?(?:in use|taken|allocated|answered by pid)|port is already allocated|Only one usage of each socket address|for `[^`]+` is taken by",
            ),
            python: regex(r#"No module named ['"]?([\w.\-]+)"#),
            node: regex(r#"Cannot find (?:module|package) ['"]([^'"]+)['"]"#),
            ruby: regex(r"cannot load such file -- (\S+)"),
            library: regex(r"error while loading shared libraries: ([^\s:]+)|Library not loaded: (\S+)"),
            program: regex(
                r"there is no program `([^`]+)`|(?:^|[\s:])([\w./\-]+): (?:command )?not found(?:$|\s)|exec: \\?\x22([^\x22\\]+)\\?\x22: (?:executable file not found|stat)|spawn (\S+) ENOENT",
            ),
            file: regex(r"(?i)No such file or directory|ENOENT|there is no folder|cannot find the (?:file|path)"),
            permission: regex(
                r"(?i)permission denied|\bEACCES\b|\bEPERM\b|operation not permitted|is not an executable file",
            ),
            password: regex(
                r#"(?i)password authentication failed(?: for user ["']([^"']+))?|WRONGPASS|NOAUTH|Access denied for user '([^']+)|SASL authentication failed|no password supplied"#,
            ),
            database: regex(r#"(?i)database "([^"]+)" does not exist|Unknown database '([^']+)'"#),
            role: regex(r#"role "([^"]+)" does not exist"#),
            table: regex(r#"relation "([^"]+)" does not exist|(?i)no such table: (\S+)|Table '([^']+)' doesn't exist"#),
            refused: regex(r"(?i)connection refused|ECONNREFUSED|connect call failed|actively refused"),
            host: regex(
                r#"(?i)getaddrinfo \w+ ([\w.\-]+)|could not translate host name "([^"]+)"|lookup ([\w.\-]+)(?: on \S+)?: no such host|(Name or service not known|Temporary failure in name resolution|nodename nor servname|failed to lookup address information)"#,
            ),
            memory: regex(
                r"(?i)JavaScript heap out of memory|\bMemoryError\b|Cannot allocate memory|memory allocation of \d+ bytes failed|OutOfMemoryError|std::bad_alloc|\bENOMEM\b|fatal error: runtime: out of memory",
            ),
            variables: [
                regex(r#"KeyError: ['"]([A-Z][A-Z0-9_]{2,})['"]"#),
                regex(
                    r#"(?i:environment variable|env var|variable)s?:? [`"']?([A-Z][A-Z0-9_]{2,})[`"']? ?(?i:(?:is |was |must be )?(?:not set|missing|required|not found|undefined|not present|unset|set))"#,
                ),
                regex(
                    r#"[`"']?\b([A-Z][A-Z0-9_]{2,})[`"']?:? (?i:(?:is |must be |was )?(?:not set|set|required|missing|unset|unbound|undefined|not defined|parameter not set|unbound variable|environment variable not found))"#,
                ),
                regex(
                    r#"(?i:missing (?:required )?(?:environment |env )?(?:variable|var|setting|key)s?:?) [`"']?([A-Z][A-Z0-9_]{2,})"#,
                ),
            ],
            quoted: regex(r#"['"`‘]([^'"`’]*[/.][^'"`’]*)['"`’]"#),
            port: regex(r"(?i)(?:port[ =:]+|[\w.\]*]:|',\s*)(\d{2,5})\b"),
            listening: regex(
                r"(?i)\b(?:listening|running|serving|started|server|ready|available)\b.*?(?:port[ :=]*|://[^\s/]*?:|(?:localhost|[\d.*]+|\]):)(\d{2,5})\b",
            ),
        }
    }

    /// What a line says is wrong, where it does. What is said more exactly comes first.
    pub(super) fn meaning(&self, line: &str) -> Option<Meaning> {
        let first = |regex: &Regex| {
            let found = regex.captures(line)?;
            found.iter().skip(1).flatten().next().map(|found| found.as_str().to_owned())
        };
        if self.port_taken.is_match(line) {
            return Some(Meaning::PortTaken(self.port_of(line)));
        }
        for (regex, of) in [
            (&self.python, Language::Python),
            (&self.node, Language::Node),
            (&self.ruby, Language::Ruby),
            (&self.library, Language::System),
        ] {
            if let Some(name) = first(regex) {
                return Some(Meaning::Module { name, of });
            }
        }
        if self.password.is_match(line) {
            return Some(Meaning::Password(first(&self.password)));
        }
        if let Some(name) = first(&self.database) {
            return Some(Meaning::Database(name));
        }
        if let Some(name) = first(&self.role) {
            return Some(Meaning::Role(name));
        }
        if let Some(name) = first(&self.table) {
            return Some(Meaning::Table(name));
        }
        if let Some(name) = self.variables.iter().find_map(first) {
            return Some(Meaning::Variable(name));
        }
        if self.memory.is_match(line) {
            return Some(Meaning::Memory);
        }
        if self.refused.is_match(line) {
            return Some(Meaning::Refused { port: self.port_of(line) });
        }
        if let Some(name) = first(&self.host) {
            return Some(Meaning::Host(name));
        }
        if let Some(name) = first(&self.program) {
            return Some(Meaning::Program(name));
        }
        if self.permission.is_match(line) {
            return Some(Meaning::Permission);
        }
        self.file.is_match(line).then(|| Meaning::File(first(&self.quoted)))
    }

    /// The port that a line is about: the last it names, as addresses end in theirs.
    fn port_of(&self, line: &str) -> Option<u16> {
        self.port.captures_iter(line).filter_map(|found| found.get(1)?.as_str().parse().ok()).last()
    }

    /// The port that a program says it listens on.
    pub(super) fn listening_on(&self, line: &str) -> Option<u16> {
        self.listening.captures(line)?.get(1)?.as_str().parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn lines_are_understood() {
        let patterns = Patterns::new();
        let module = |name: &str, of| Meaning::Module { name: name.to_owned(), of };
        for (line, meaning) in [
            ("Error: listen EADDRINUSE: address already in use 127.0.0.1:8000", Meaning::PortTaken(Some(8000))),
            ("OSError: [Errno 98] Address already in use", Meaning::PortTaken(None)),
            ("port 8000 is answered by pid 7 (x), not by this service", Meaning::PortTaken(Some(8000))),
            ("ModuleNotFoundError: No module named 'fastapi'", module("fastapi", Language::Python)),
            ("/usr/bin/python3: No module named uvicorn", module("uvicorn", Language::Python)),
            ("Error: Cannot find module 'express'", module("express", Language::Node)),
            ("cannot load such file -- sinatra (LoadError)", module("sinatra", Language::Ruby)),
            (
                "./api: error while loading shared libraries: libpq.so.5: cannot open",
                module("libpq.so.5", Language::System),
            ),
            ("there is no program `nope` in PATH", Meaning::Program(some("nope"))),
            ("sh: 1: uvicorn: not found", Meaning::Program(some("uvicorn"))),
            ("bash: line 1: node: command not found", Meaning::Program(some("node"))),
            (
                "FileNotFoundError: [Errno 2] No such file or directory: 'conf/app.toml'",
                Meaning::File(Some(some("conf/app.toml"))),
            ),
            ("cat: x: No such file or directory", Meaning::File(None)),
            ("PermissionError: [Errno 13] Permission denied: '/var/lib/x'", Meaning::Permission),
            ("FATAL:  password authentication failed for user \"app\"", Meaning::Password(Some(some("app")))),
            ("WRONGPASS invalid username-password pair or user is disabled.", Meaning::Password(None)),
            ("FATAL:  database \"menu\" does not exist", Meaning::Database(some("menu"))),
            ("FATAL:  role \"joe\" does not exist", Meaning::Role(some("joe"))),
            ("ERROR:  relation \"users\" does not exist at character 15", Meaning::Table(some("users"))),
            (
                "connection to server at \"localhost\" (127.0.0.1), port 5432 failed: Connection refused",
                Meaning::Refused { port: Some(5432) },
            ),
            ("Error: connect ECONNREFUSED 127.0.0.1:6379", Meaning::Refused { port: Some(6379) }),
            (
                "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 5432)",
                Meaning::Refused { port: Some(5432) },
            ),
            ("dial tcp [::1]:5432: connect: connection refused", Meaning::Refused { port: Some(5432) }),
            ("Error: getaddrinfo ENOTFOUND db", Meaning::Host(some("db"))),
            ("could not translate host name \"db\" to address: Name or service not known", Meaning::Host(some("db"))),
            ("FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", Meaning::Memory),
            ("KeyError: 'DATABASE_URL'", Meaning::Variable(some("DATABASE_URL"))),
            ("Error: environment variable `JWT_SECRET` is not set", Meaning::Variable(some("JWT_SECRET"))),
            ("JWT_SECRET must be set", Meaning::Variable(some("JWT_SECRET"))),
            ("sh: 1: API_KEY: parameter not set", Meaning::Variable(some("API_KEY"))),
            ("missing required environment variable: STRIPE_KEY", Meaning::Variable(some("STRIPE_KEY"))),
        ] {
            assert_eq!(patterns.meaning(line), Some(meaning), "{line}");
        }
        for line in ["", "INFO started", "GET / 200", "user not found", "no error", "listening on 127.0.0.1:8000"] {
            assert_eq!(patterns.meaning(line), None, "{line}");
        }
    }

    #[test]
    fn programs_say_where_they_listen() {
        let patterns = Patterns::new();
        for (line, port) in [
            ("Listening on port 3000", Some(3000)),
            ("INFO:     Uvicorn running on http://127.0.0.1:8001 (Press CTRL+C to quit)", Some(8001)),
            ("server started at 0.0.0.0:9000", Some(9000)),
            ("  Local:   http://localhost:5173/", None),
            ("ready in 300 ms", None),
        ] {
            assert_eq!(patterns.listening_on(line), port, "{line}");
        }
    }
}
