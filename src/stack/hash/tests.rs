//! Hashes against those that Docker Compose 2.40.3 printed for the same text (`docker compose config --hash`).

use std::collections::BTreeMap;
use std::fs;

use super::*;
use crate::manifest::{self, Manifest};

/// A service, and its hash.
const CASES: &[(&str, &str)] = &[
    (r"{image: nginx}", "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3"),
    (r"{image: nginx, command: echo hi}", "d3ba8f1e2090d7fb0659531ab2a813c960d6d2e9ba8b72d711ee799db5fa691a"),
    (
        r#"{image: nginx, command: 'sh -c "echo a && b"', entrypoint: ["/bin/sh"]}"#,
        "0134ff6c8ba9a77a8c9eaccb1a8388c1359566df276c9fe816ba79e20403d963",
    ),
    (
        r#"{image: nginx, command: [], entrypoint: ""}"#,
        "5f41157de93f52f41fac3b40b82c353083b4cd5283ced840364aef42a94bad07",
    ),
    (
        r#"{image: nginx, command: 'a "x\\ny" c\\ d'}"#,
        "10a4ce8948c9254bef456f2c5ed0212f0edbbf4ecff7f532954bff092869cb30",
    ),
    (
        r#"{image: nginx, environment: {B: 1.10, A: "<&>", C: true, D: , E: 017, F: 1e3}}"#,
        "f6b674edeeaba05320eddf758f00ceff16ad65a482e3c29886f93cad43ace994",
    ),
    (
        r"{image: nginx, environment: [X=1, Y=, NOWHERE_SET]}",
        "d7d33d7673cf1faca5489345e54ceca1cb70c42a686003e6b44b97db869ceecf",
    ),
    (
        r#"{image: nginx, environment: {U: "ü\u2028\t\n\"\\", D: "a$$b"}}"#,
        "60c44542db19a171561ed4993079b92d639eaaeb58311e67299a7b8544b06382",
    ),
    (r"{image: nginx, ports: [80]}", "cb737835870c42cfcb4625ea05d2dbd554dffd73db0a8c069a3e54a50b6516ed"),
    (
        r#"{image: nginx, ports: ["8080:80", "127.0.0.1:8443:443/tcp", "53:53/udp", "[::1]:9090:90"]}"#,
        "ea1e5310b9a315f91c6892e45ac615b504e5c230b99b0da3187a9cfa01ef5ad2",
    ),
    (r#"{image: nginx, ports: ["9-11:99-101"]}"#, "c72bf6d4d493ec52dae3db278d6da28facd68252a42572240a0df0e495c85add"),
    (
        r#"{image: nginx, ports: ["80:80", "80:80"]}"#,
        "aacae549bc25c226810df608c0c1bbc5195e8821e1f93518d20420d3b42a7c55",
    ),
    (r"{image: nginx, ports: [{target: 80}]}", "cb737835870c42cfcb4625ea05d2dbd554dffd73db0a8c069a3e54a50b6516ed"),
    (
        r#"{image: nginx, ports: [{target: 80, published: "8080", protocol: udp, host_ip: 127.0.0.1, name: web, app_protocol: http, mode: host}]}"#,
        "a4302ccd0a2089cc9712cf3edba9f0590958aeb27c4d54e4ea011092286d5c00",
    ),
    (
        r#"{image: nginx, ports: [{target: "80", published: 8080}]}"#,
        "f3bd03ea666f08645557a71e46313f367713e950177918b309e8a1e5bde8397c",
    ),
    (
        r#"{image: nginx, volumes: ["data:/data", "/srv/x:/x:ro", "/anon", "data:/b:rw"]}"#,
        "cd23edca9b002a364ea9f4c4a71d5c512ec7b8f1c721ed6e96f6802fc0244281",
    ),
    (
        r"{image: nginx, volumes: [{type: volume, source: data, target: /d}, {type: bind, source: /srv/y, target: /y}, {type: bind, source: /srv/y, target: /z/, bind: {create_host_path: true}}, {type: tmpfs, target: /t}]}",
        "fa2588a6d8c396e454dd8de3b176778ee14cb3bc10daf922266fdc298403fd7c",
    ),
    (
        r"{image: nginx, volumes: [{type: bind, source: /srv/y, target: /y, read_only: true, bind: {create_host_path: false}}]}",
        "1ecbe54a9f1128d606ed0181a48cd4210dde2082f53188a4ec94b729b35e1b63",
    ),
    (
        r#"{image: nginx, volumes: ["data:/data", "/other:/data"]}"#,
        "ed41da6166a8809af93c342bbc78a6075e089e3e0d7dcd10942840f57a52b625",
    ),
    (r"{image: nginx, networks: [front, back]}", "a64c743534a5b2a3d8caddb970464d8c60b96ed02e9de14e26644969b220cc3a"),
    (
        r"{image: nginx, networks: {front: {aliases: [b, a]}, default: , back: {}}}",
        "0fd9bc7f321856fdc3c5c8cfdb83e7fde85114bc211deca4772e597fbd175837",
    ),
    (r"{image: nginx, network_mode: host}", "1b5c7734f62a86040e1912873f3a605e67b6d2787e18afe654a9c9599169f2da"),
    (r"{image: nginx, network_mode: none}", "0d11dc64ed0d030d183808aae018d77c3601f906a7095661e864bef2aa094686"),
    (
        r"{image: nginx, depends_on: [other], profiles: [p], pull_policy: always}",
        "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3",
    ),
    (
        r"{image: nginx, depends_on: {other: {condition: service_healthy, restart: true}}}",
        "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3",
    ),
    (
        r"{image: nginx, healthcheck: {test: curl -f localhost, interval: 1m30s, timeout: 1500ms, retries: 3, start_period: 1h, start_interval: 250us}}",
        "2c93d7268d8b805c22aa5ac65e96673cb64dfb29c6dd7caee44e17a36b5b9f07",
    ),
    (
        r#"{image: nginx, healthcheck: {test: ["CMD", "a", "b"], retries: 0}}"#,
        "2a88687e10426cd59843aecc991496fef412bdc2678c2e535a39dd2dc543acda",
    ),
    (
        r"{image: nginx, healthcheck: {disable: true}}",
        "77285ff36247fb18970355d6c68a2019a997967d3b12a7cc6042332cdd55b076",
    ),
    (
        r#"{image: nginx, healthcheck: {test: ["NONE"]}}"#,
        "45dc4638792250eb5c752b198b3091ae0089116610313c49c2582d508d20d270",
    ),
    (
        r#"{image: nginx, healthcheck: {test: ["CMD", "x"], retries: "4", interval: 2d}}"#,
        "24f25dcc2e3be87197ce6d2d2c4dfa1176d1c95bd0562eba0c771e76d9991d7b",
    ),
    (r"{image: nginx, restart: unless-stopped}", "c7df817fdc57eb819b85e594e6c1ff05e91f93a1a0f9e50293d7a6cf56d6cc84"),
    (r#"{image: nginx, restart: "on-failure:3"}"#, "c44da45949f3f52ba75575c484275238040bd1c42230ccba3c850beb4d577988"),
    (r#"{image: nginx, restart: "no"}"#, "ff8916f1e29a4cc119f831b60df6a12bd645e1aae6c71d420b664e5f22d3b636"),
    (
        r#"{image: nginx, labels: {b: "2", a: 1, c: }}"#,
        "48be1031318537103e6e47d65d4f580160330fc2b2dee7fa3e9c597551d885b6",
    ),
    (r#"{image: nginx, labels: ["x=y", "z"]}"#, "feca908c1713b6b9472251618b21955f9e21c89960e3e5e355405e711aff7d29"),
    (
        r#"{image: nginx, container_name: cn, user: "1000:1000", working_dir: /w, hostname: h}"#,
        "4ae29aa47df9d147b109c94ff806cf7332394637f1c191a968014965a5cb7889",
    ),
    (r"{image: nginx, init: true}", "7ef9ae1d96f3a3e6265da5cc58d52d75ad6ecc46a929a2c6747e6dcf15285fe6"),
    (r"{image: nginx, init: false}", "e53f0ea4f7eb495c2f6ab5c9f7a8285e4e27ed7f70a3b6d76c0ca415137f6057"),
    (
        r"{image: nginx, stop_signal: SIGINT, stop_grace_period: 90s}",
        "90d5f2ba80d221db42a188a7a5a7d3119fd6f975244fe2eb8b4caabb0cf380bb",
    ),
    (r"{image: nginx, stop_grace_period: 0s}", "f8387758001560eb3f2173e786c42aeb367b1eddb7e99782850290ecc0548937"),
    (
        r"{image: nginx, tty: true, stdin_open: true, privileged: true, read_only: true}",
        "8b6a814f8c833de552a10c785be74f168bb34728e6ae372ba8b3fe56b98b31e1",
    ),
    (
        r#"{image: nginx, tty: "true", privileged: "false"}"#,
        "fb435d40bce73a5fbfeacd34a7071dd27497f4466a79bbe256ccb89ab4e7ed15",
    ),
    (
        r"{image: nginx, cap_add: [NET_ADMIN, SYS_TIME, NET_ADMIN], cap_drop: [ALL]}",
        "0b1c62b4074a9523b28bebc6f07c0429a2f06f20838941ee4a61f94b613380e6",
    ),
    (
        r#"{image: nginx, extra_hosts: ["h=1.2.3.4", "a:5.6.7.8", "six=[::1]"]}"#,
        "1d683a4ecd1c04bbf3e3cfb4076dfd5eecd404cc5f4a6d368fbffc9f6455a3c8",
    ),
    (
        r"{image: nginx, extra_hosts: {h: 1.2.3.4, gw: host-gateway, two: [1.1.1.1, 2.2.2.2]}}",
        "a2eb1d2e48401e91e72d184bd7d67ec6f70cb2eaf83e336a289c342104db6001",
    ),
    (
        r"{image: nginx, sysctls: [net.core.somaxconn=1024]}",
        "050f5d86ed00ee2313cb0362c4247f382eb675449bdcf7b326bd0683a212170a",
    ),
    (
        r"{image: nginx, sysctls: {net.core.somaxconn: 1024, net.ipv4.tcp_syncookies: 0}}",
        "cdc75a3b080de0ed8f6a00d25f93eea3b0dd0b7fb5a5142c159456d4059a08a3",
    ),
    (
        r"{image: nginx, ulimits: {nproc: 65535, nofile: {soft: 20000, hard: 40000}}}",
        "60f73785a9392e47022c37b8376581e1e96fc29d3fdaf876a755d3cff80369ab",
    ),
    (r"{image: nginx, ulimits: {core: 0}}", "c483e135391c0180aae40c062a6f8b2e06010bc5be7037c2f7f1505109f98ae0"),
    (
        r"{image: nginx, shm_size: 64m, mem_limit: 1.5gb}",
        "040bf6750d8695b50288f96f2b046067dc8d93c02cbd05deb55a57dc49b08728",
    ),
    (
        r"{image: nginx, shm_size: 1024, mem_limit: 0}",
        "5812eaf4603256686ccd27fb7cb3f8bafade47149b1a4ce1e617f81f646016e0",
    ),
    (r"{image: nginx, platform: linux/amd64}", "b63ae65644ffb69165dc1eb32abf3d6d752db8f60cefbb70fb0eea9127219c7f"),
    (
        r#"{image: nginx, expose: [80, "90/udp", "80"]}"#,
        "0bd5161a44570554767534f010cb3cb694d9212a95a79df5abf053f72bffb297",
    ),
    (r"{image: nginx, x-mine: {a: 1}}", "daef7adc9ecc59d4881bd1ebc06f26a836d35656f8b5fb0adfdb95b2d856fbd3"),
    (r#"{image: "nginx:${TAG:-1.27}"}"#, "35cb49ef2b427e33199ec130fd4fa2219dfb5858c58ba793400d99b97e093e4c"),
];

fn load(yaml: &str) -> Manifest {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("devctl.toml"), "[containers]\ncompose = \"c.yml\"\n").unwrap();
    fs::write(folder.path().join("c.yml"), yaml).unwrap();
    manifest::load(folder.path(), &BTreeMap::new()).unwrap_or_else(|problems| {
        panic!("{}", problems.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

#[test]
fn services_have_the_hash_that_compose_gives_them() {
    let mut wrong = Vec::new();
    for (service, expected) in CASES {
        let yaml = format!(
            "name: p\nservices:\n  s: {service}\n  other: {{image: busybox}}\nvolumes: {{data: }}\nnetworks: {{front: , back: }}\n"
        );
        let manifest = load(&yaml);
        let container = &manifest.compose.services[0];
        if super::service(container, HashDialect::V2) != *expected {
            wrong.push(format!("{service}\n  {}", container.hashed(HashDialect::V2).compact_json()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), CASES.len(), wrong.join("\n"));
}

#[test]
fn a_digest_for_each_key_tells_which_ones_changed() {
    let service = |text: &str| load(&format!("name: p\nservices: {{s: {text}}}\n")).compose.services[0].clone();
    let old = service("{image: nginx, command: a, environment: {SECRET: x}, user: me}");
    let label = key_digests(&old);
    assert_eq!(changed_keys(&label, &old), Some(vec![]));
    let new = service("{image: nginx, command: b, environment: {SECRET: y}, hostname: h, depends_on: []}");
    let changed = ["command", "environment", "hostname", "user"].map(str::to_owned).to_vec();
    assert_eq!(changed_keys(&label, &new), Some(changed));
    assert_eq!(changed_keys("something else", &new), None);
}

#[test]
fn shared_namespaces_are_hashed_by_the_id_of_the_container() {
    let mut service = load("name: p\nservices:\n  s: {image: nginx}\n").compose.services[0].clone();
    service.network_mode = Some("service:o".to_owned());
    service.pid = Some("service:o".to_owned());
    service.ipc = Some("host".to_owned());
    service.volumes_from = vec!["o:ro".to_owned(), "container:c:ro".to_owned()];
    let container = shared(&service, |service| (service == "o").then(|| "1d".to_owned()));
    assert_eq!(container.network_mode.as_deref(), Some("container:1d"));
    assert_eq!((container.pid.as_deref(), container.ipc.as_deref()), (Some("container:1d"), Some("host")));
    assert_eq!(container.volumes_from, ["1d", "c"]);
}

#[test]
fn binds_of_the_short_form_are_hashed_in_two_ways() {
    let container = load("name: p\nservices: {s: {image: nginx, volumes: ['/a:/a']}}\n").compose.services[0].clone();
    let [old, new] = HashDialect::ALL.map(|dialect| container.hashed(dialect).compact_json());
    assert!(old.contains(r#""bind":{"create_host_path":true}"#), "{old}");
    assert!(new.contains(r#""bind":{}"#), "{new}");
}
