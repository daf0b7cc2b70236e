//! The little of a Dockerfile that must be known before it is built: whether it needs BuildKit, and what it builds on.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;

/// What only BuildKit understands: flags of instructions, texts that stand in the Dockerfile, platforms by name.
static BUILDKIT: LazyLock<Regex> = LazyLock::new(|| {
    let flags = r"mount|network|security|link|parents|chmod|exclude|checksum|keep-git-dir";
    let instruction = format!(r"^\s*(RUN|COPY|ADD)\s+(--\S+\s+)*(--({flags})\b|.*<<-?['\x22]?\w)");
    let platform = r"\$\{?(BUILD|TARGET)(PLATFORM|OS|ARCH|VARIANT)\b";
    Regex::new(&format!("(?im){instruction}|{platform}")).expect("the expression is a constant")
});

/// The image that reads the Dockerfile instead of the engine's own reader.
static SYNTAX: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?i)^#\s*syntax\s*=\s*(\S+)").expect("the expression is a constant"));

/// Whether the classic builder cannot build it.
pub(super) fn needs_buildkit(text: &str) -> bool {
    BUILDKIT.is_match(text)
}

/// The text for the reader that the engine has itself, where that is as good as the one it asks for: `docker/dockerfile`
/// of version 1 is the same, and would have to be pulled.
pub(super) fn for_own_reader(text: &str) -> Option<String> {
    let first = text.lines().next().unwrap_or_default();
    let asked = SYNTAX.captures(first)?.get(1)?.as_str();
    let own = asked.trim_start_matches("docker.io/").split('@').next().unwrap_or_default();
    let version = own.strip_prefix("docker/dockerfile")?;
    let version = version.strip_prefix(':').unwrap_or("1");
    (version == "1" || version.starts_with("1.") || version == "latest").then(|| text.replacen(first, "#", 1))
}

/// The images that the stages are built on, those that are stages themselves left out.
pub(super) fn bases(text: &str, args: &BTreeMap<String, String>) -> Vec<String> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let (mut stages, mut bases) = (Vec::new(), Vec::new());
    for line in text.replace("\\\n", " ").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [word, said @ ..] if word.eq_ignore_ascii_case("ARG") && stages.is_empty() && bases.is_empty() => {
                for arg in said {
                    let (name, default) = arg.split_once('=').unwrap_or((arg, ""));
                    let value = args.get(name).map_or(default.trim_matches(['"', '\'']), String::as_str);
                    known.insert(name.to_owned(), value.to_owned());
                }
            }
            [word, rest @ ..] if word.eq_ignore_ascii_case("FROM") => {
                let mut rest = rest.iter().filter(|word| !word.starts_with("--"));
                let Some(image) = rest.next() else { continue };
                let image = with_args(image, &known);
                if image != "scratch" && !stages.contains(&image.to_lowercase()) && !bases.contains(&image) {
                    bases.push(image);
                }
                if let (Some(_), Some(name)) = (rest.next(), rest.next()) {
                    stages.push(name.to_lowercase());
                }
            }
            _ => {}
        }
    }
    bases
}

/// Puts arguments in: `$NAME`, `${NAME}`, `${NAME:-default}`.
fn with_args(text: &str, args: &BTreeMap<String, String>) -> String {
    static ARG: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\$(?:(\w+)|\{(\w+)(?::?-([^}]*))?\})").expect("the expression is a constant"));
    ARG.replace_all(text, |found: &regex::Captures<'_>| {
        let name = found.get(1).or(found.get(2)).map_or("", |name| name.as_str());
        let default = found.get(3).map_or("", |default| default.as_str());
        args.get(name).filter(|value| !value.is_empty()).map_or(default, String::as_str).to_owned()
    })
    .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_buildkit_is_told_from_what_does_not() {
        for text in [
            "FROM a\nRUN --mount=type=cache,target=/c true",
            "FROM a\nRUN <<EOT\ntrue\nEOT",
            "FROM a\nCOPY <<-\"X\" /a\nX",
            "FROM a\nCOPY --from=b --link /a /b",
            "FROM --platform=$BUILDPLATFORM a",
            "from a\nrun --network=none true",
            "FROM a\nCOPY --chmod=755 a b",
        ] {
            assert!(needs_buildkit(text), "{text}");
        }
        for text in ["FROM a\nRUN echo --mount", "FROM a\nCOPY --from=b --chown=1 /a /b", "FROM a\nRUN echo $PLATFORM"]
        {
            assert!(!needs_buildkit(text), "{text}");
        }
    }

    #[test]
    fn the_engines_own_reader_stands_in_for_that_of_version_1() {
        for asked in
            ["docker/dockerfile:1", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile:1", "docker/dockerfile"]
        {
            let text = format!("# syntax={asked}\nFROM a");
            assert_eq!(for_own_reader(&text).as_deref(), Some("#\nFROM a"), "{asked}");
        }
        for text in ["FROM a", "# syntax=docker/dockerfile:2\n", "# syntax=someone/else:1\n"] {
            assert_eq!(for_own_reader(text), None, "{text}");
        }
    }

    #[test]
    fn bases_are_images_and_no_stages() {
        let text = "ARG V=1 \\\n W\nFROM a:$V AS one\nFROM one\nFROM --platform=linux/amd64 b:${W:-2} as two\nFROM scratch\nCOPY --from=two / /\n";
        assert_eq!(bases(text, &BTreeMap::new()), ["a:1", "b:2"]);
        let args = BTreeMap::from([("V".to_owned(), "9".to_owned()), ("W".to_owned(), "8".to_owned())]);
        assert_eq!(bases(text, &args), ["a:9", "b:8"]);
    }
}
