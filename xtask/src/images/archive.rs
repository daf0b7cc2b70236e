//! The archive that `docker load` reads: one layer, its configuration, and the tag. Byte for byte the same for the same
//! contents, so that the image has the same id on every engine.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// How an image is started.
pub(super) struct Config {
    pub(super) entrypoint: &'static [&'static str],
    pub(super) command: &'static [&'static str],
    pub(super) environment: Vec<String>,
    pub(super) volume: &'static str,
    pub(super) port: &'static str,
    pub(super) working_dir: &'static str,
    pub(super) stop_signal: Option<&'static str>,
}

impl Config {
    /// The `config` object of an image.
    pub(super) fn to_json(&self, labels: &BTreeMap<String, String>) -> Value {
        let mut config = json!({
            "Entrypoint": self.entrypoint,
            "Cmd": self.command,
            "Env": self.environment,
            "Volumes": { self.volume: {} },
            "ExposedPorts": { self.port: {} },
            "WorkingDir": self.working_dir,
            "Labels": labels,
        });
        if let Some(signal) = self.stop_signal {
            config["StopSignal"] = json!(signal);
        }
        config
    }
}

/// Packs a layer and its configuration into an archive.
pub(super) fn pack(
    tag: &str,
    config: &Config,
    labels: &BTreeMap<String, String>,
    layer: &[u8],
) -> anyhow::Result<Vec<u8>> {
    // The time must not be the present one, or the id would change with every build.
    let created = "2026-01-01T00:00:00Z";
    let image = json!({
        "architecture": architecture(),
        "os": "linux",
        "created": created,
        "config": config.to_json(labels),
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", hex(&Sha256::digest(layer)))] },
        "history": [{ "created": created, "created_by": "cargo xtask images" }],
    })
    .to_string();
    let name = format!("{}.json", hex(&Sha256::digest(&image)));
    let manifest = json!([{ "Config": name, "RepoTags": [tag], "Layers": ["layer.tar"] }]).to_string();

    let mut archive = tar::Builder::new(Vec::with_capacity(layer.len() + 64 * 1024));
    for (path, content) in [("layer.tar", layer), (&name, image.as_bytes()), ("manifest.json", manifest.as_bytes())] {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        archive.append_data(&mut header, path, content)?;
    }
    Ok(archive.into_inner()?)
}

/// This machine's processor, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
