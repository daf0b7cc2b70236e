//! Compose files, each about one part of what reaches the engine. `@` is a number that no other run has, for subnets.

/// Files that every engine can do.
pub(crate) const ALL: &[(&str, &str)] = &[
    (
        "what runs and what for",
        r#"
services:
  plain: {image: I}
  words: {image: I, command: "sh -c 'echo \"a b\" && sleep 1000'", entrypoint: ["/bin/sh", "-c"]}
  emptied: {image: I, command: [sleep, "1"], entrypoint: []}
  env: {image: I, environment: [A=b=c, "B=<&>", EMPTY=, NOWHERE_SET, 'D=$$x']}
  labels: {image: I, labels: {com.example.a: "1", "b": "<x>"}, annotations: {com.example.note: kept}}
  user: {image: I, user: "1000:1000", working_dir: /tmp, hostname: here, domainname: example.test, group_add: [7, audio]}
  terminal: {image: I, tty: true, stdin_open: true, init: true}
  stops: {image: I, stop_signal: SIGINT, stop_grace_period: 1m30s}
  named: {image: I, container_name: N-by-name}
  checked:
    image: I
    healthcheck: {test: "echo hi || exit 1", interval: 1500ms, timeout: 3s, retries: 4, start_period: 1m}
  unchecked: {image: I, healthcheck: {disable: true}}
  argv: {image: I, healthcheck: {test: [CMD, "true", "$$HOME"]}}
  none: {image: I, healthcheck: {test: [NONE]}}
  needs:
    image: I
    depends_on: {plain: {condition: service_started, restart: true}, checked: {condition: service_healthy}}
"#,
    ),
    (
        "when it is started again",
        r#"
services:
  no: {image: I, restart: "no"}
  always: {image: I, restart: always}
  unless: {image: I, restart: unless-stopped}
  failure: {image: I, restart: "on-failure:5"}
  deployed: {image: I, restart: always, deploy: {restart_policy: {condition: on-failure, max_attempts: 3}}}
  any: {image: I, deploy: {restart_policy: {condition: any}}}
  never: {image: I, deploy: {restart_policy: {condition: none}}}
"#,
    ),
    (
        "what it may use",
        r#"
services:
  memory: {image: I, mem_limit: 64m, mem_reservation: 32m, memswap_limit: 128m, mem_swappiness: 10, shm_size: 64k}
  processors: {image: I, cpus: 0.5, cpu_shares: 512, cpuset: "0"}
  period: {image: I, cpu_period: 50000, cpu_quota: 25000}
  deployed:
    image: I
    deploy: {resources: {limits: {cpus: "0.75", memory: 96m, pids: 42}, reservations: {memory: 24m}}}
  processes: {image: I, pids_limit: 100, oom_score_adj: 500}
  limits: {image: I, ulimits: {nofile: {soft: 100, hard: 200}, nproc: 65535}}
  parent: {image: I, cgroup_parent: devctl-test}
  throttled:
    image: I
    blkio_config: {weight: 300}
"#,
    ),
    (
        "what it is allowed",
        r#"
services:
  caps: {image: I, cap_add: [NET_ADMIN, SYS_TIME], cap_drop: [MKNOD]}
  privileged: {image: I, privileged: true, read_only: true}
  options: {image: I, security_opt: ["no-new-privileges:true", "seccomp=unconfined"]}
  profile: {image: I, security_opt: ["seccomp=./profile.json"]}
  paths: {image: I, security_opt: ["systempaths=unconfined"]}
  sysctls: {image: I, sysctls: {net.core.somaxconn: 1024}}
  devices: {image: I, devices: ["/dev/null:/dev/nothing:r", "/dev/zero"], device_cgroup_rules: ["c 1:3 mr"]}
  gpus: {image: I, gpus: [{driver: nvidia, count: 1, options: {a: b}}]}
  reserved:
    image: I
    deploy: {resources: {reservations: {devices: [{capabilities: [gpu], driver: nvidia, device_ids: ["0", "3"]}]}}}
  runtime: {image: I, runtime: runc}
"#,
    ),
    (
        "what it shares",
        r#"
services:
  base: {image: I, volumes: ["/shared"]}
  host: {image: I, network_mode: host, ipc: host, pid: host, uts: host, cgroup: host}
  user: {image: I, userns_mode: host, network_mode: none}
  private: {image: I, ipc: private, cgroup: private, network_mode: none}
  shareable: {image: I, ipc: shareable}
  joined: {image: I, network_mode: "service:base", pid: "service:base", ipc: "service:shareable"}
  volumes: {image: I, volumes_from: [base]}
  read: {image: I, volumes_from: ["base:ro"]}
"#,
    ),
    (
        "what is mounted",
        r#"
services:
  short:
    image: I
    volumes: ["data:/data", "other:/other:ro", "./src:/src", "./src:/ro:ro", "/anon", "labelled:/labelled", "./src:/z:z"]
  long:
    image: I
    volumes:
      - {type: volume, source: data, target: /data, read_only: true}
      - {type: volume, source: data, target: /nocopy, volume: {nocopy: true}}
      - {type: volume, target: /anon}
      - {type: bind, source: ./src, target: /src}
      - {type: bind, source: ./src, target: /there, read_only: true, bind: {create_host_path: false}}
      - {type: bind, source: ./src, target: /spread, bind: {propagation: rslave}}
      - {type: bind, source: ./src, target: /made, bind: {create_host_path: true}}
      - {type: tmpfs, target: /mem, tmpfs: {size: 1m, mode: 0o1770}}
      - {type: tmpfs, target: /plain}
  tmpfs: {image: I, tmpfs: ["/run", "/tmp:size=1m,mode=1777"]}
  one: {image: I, tmpfs: /run}
  twice: {image: I, volumes: ["data:/same", "other:/same"]}
volumes:
  data:
  other: {name: N-other}
  labelled: {labels: {a: "<b>"}, driver: local, driver_opts: {type: tmpfs, device: tmpfs, o: "size=1m"}}
"#,
    ),
    (
        "what it is given",
        r#"
services:
  web:
    image: I
    secrets: [file, {source: file, target: renamed}, {source: file, target: /abs/path}, held]
    configs: [file, {source: file, target: /etc/conf}, {source: inline, target: /etc/inline, uid: "7", mode: 0400}]
secrets:
  file: {file: ./secret.txt}
  held: {environment: PATH}
configs:
  file: {file: ./config.txt}
  inline: {content: "a $$ b"}
"#,
    ),
    (
        "how it is reached",
        r#"
services:
  published:
    image: I
    ports: ["8080:80", "127.0.0.1:8443:443/tcp", "53:53/udp", "9000-9002:9000-9002", "7000", "[::1]:9090:90"]
  long:
    image: I
    ports:
      - {target: 80, published: "18080", protocol: tcp, host_ip: 127.0.0.1, mode: host}
      - {target: 81, published: "18100-18110"}
      - {target: 82}
  exposed: {image: I, expose: [99, "100/udp", "5432"]}
  both: {image: I, expose: ["80"], ports: ["28080:80"]}
  resolver: {image: I, dns: [1.1.1.1, 8.8.8.8], dns_search: example.test, dns_opt: ["ndots:2"]}
  hosts: {image: I, extra_hosts: ["one:10.0.0.1", "host.docker.internal:host-gateway", "six:[::1]"]}
  logged: {image: I, logging: {driver: json-file, options: {max-size: 10m, max-file: "3"}}}
  unlogged: {image: I, logging: {driver: none}}
"#,
    ),
    (
        "which networks it joins",
        r#"
services:
  one: {image: I, networks: [back]}
  several: {image: I, networks: {front: {aliases: [www, web]}, back: , zoned: {priority: 10}}}
  static:
    image: I
    networks: {zoned: {ipv4_address: 10.@.7, link_local_ips: [169.254.8.8]}, default: {driver_opts: {a: b}}}
  bare: {image: I, networks: {default: {}}}
networks:
  back: {internal: true, labels: {x: "<y>"}}
  front: {driver: bridge, attachable: true, driver_opts: {com.docker.network.bridge.enable_icc: "false"}}
  zoned:
    name: N-zoned
    ipam: {driver: default, config: [{subnet: 10.@.0/24, gateway: 10.@.1, ip_range: 10.@.0/25, aux_addresses: {host: 10.@.9}}]}
"#,
    ),
    (
        "who it is linked to",
        r#"
services:
  db: {image: I}
  one: {image: I, links: [db]}
  two: {image: I, links: ["db:database"]}
"#,
    ),
];

/// Files for engines of API 1.44 and newer.
pub(crate) const NEWER: &[(&str, &str)] = &[
    (
        "addresses of hardware and of several networks",
        r#"
services:
  own: {image: I, mac_address: "02:42:ac:11:00:07"}
  there: {image: I, networks: {default: {mac_address: "02:42:ac:11:00:08"}, second: {mac_address: "02:42:ac:11:00:09"}}}
networks: {second: {enable_ipv4: true}}
"#,
    ),
    (
        "checks that are more often at first",
        r#"
services:
  checked: {image: I, healthcheck: {test: "true", interval: 10s, start_period: 5s, start_interval: 100ms}}
"#,
    ),
    (
        "a part of a volume",
        r"
services:
  part: {image: I, volumes: [{type: volume, source: data, target: /part, volume: {subpath: a/b}}]}
volumes: {data: }
",
    ),
    (
        "an image as a volume",
        r"
services:
  web: {image: I, volumes: [{type: image, source: I, target: /image, image: {subpath: bin}}]}
",
    ),
];
