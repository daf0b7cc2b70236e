#!/bin/sh
# The start of the Redis test image. It does what the official image's entrypoint does, and turns off protected mode,
# which the official image does at build time: otherwise no connection from outside the container would be served.
set -e

# A first argument that is an option or a configuration file belongs to `redis-server`.
case "${1:-}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac

if [ "${1:-}" = redis-server ] && [ "$(id -u)" = 0 ]; then
    find . \! -user redis -exec chown redis '{}' +
    exec gosu redis "$0" "$@"
fi

# Files that Redis writes are for Redis alone.
if [ "$(umask)" = 0022 ]; then
    umask 0077
fi

if [ "${1:-}" = redis-server ]; then
    case " $* " in
        *" --protected-mode "*) ;;
        *) set -- "$@" --protected-mode no ;;
    esac
fi

exec "$@"
