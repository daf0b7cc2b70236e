//! Redis: its command line. Its data need no preparation.

use std::net::IpAddr;
use std::path::Path;

/// The arguments of `redis-server`: those of the manifest, then what devctl decides. The last one counts.
///
/// The process title stays as it is because Redis writes it over its own environment, by which devctl finds the
/// processes of a run again. A manifest's `dir`, `bind` and `port` are those of a container and mean nothing here.
pub(super) fn arguments(args: &[String], ip: IpAddr, port: u16, data: &Path) -> Vec<String> {
    let (ip, port, data) = (ip.to_string(), port.to_string(), data.to_string_lossy());
    let ours =
        [["--bind", &ip], ["--port", &port], ["--dir", &data], ["--daemonize", "no"], ["--set-proc-title", "no"]];
    args.iter().cloned().chain(ours.into_iter().flatten().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devctl_decides_comes_last() {
        let args = ["--appendonly", "yes", "--port", "6379"].map(str::to_owned);
        let line = arguments(&args, "127.0.0.1".parse().unwrap(), 22_000, Path::new("/data/redis")).join(" ");
        assert_eq!(
            line,
            "--appendonly yes --port 6379 --bind 127.0.0.1 --port 22000 --dir /data/redis --daemonize no \
             --set-proc-title no"
        );
    }
}
