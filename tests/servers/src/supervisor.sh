# Starts, stops and cleans up after one server, for as long as its standard input stays open.
#
# Standard input carries the commands, one a line: `start` runs the `run` script of the directory, `stop` asks it
# to end and `kill` ends it at once. Standard output says `directory PATH` first and then `exited STATUS` each time
# the server ended. When standard input ends, because its owner let go of it or died in whatever way, the server is
# ended and the directory removed: that is why the directory is made here and not by the owner.
#
# Arguments: the directory's name, the signal that asks the server to end, the one that ends it together with its
# data, the seconds it may take for either.
set -u
signal=$2
last_signal=$3
grace=$4
directory=$(mktemp -d "/tmp/lockstep-$1.XXXXXX") || exit 1
chmod 711 "$directory"
pid_file=$directory/supervised.pid
echo "directory $directory"

# The server leads a session of its own, so what it leaves behind ends with it. Its id is forgotten before anyone
# could mistake another process for it.
run() {
    setsid sh -c 'echo $$ >"$1/supervised.pid"; cd "$1" && exec sh ./run' supervised "$directory" \
        </dev/null >>"$directory/log" 2>&1
    status=$?
    leader=$(cat "$pid_file" 2>/dev/null) && rm -f "$pid_file" && kill -s KILL -- "-$leader" 2>/dev/null
    echo "exited $status"
}

# Nobody is signalled before the session's id is known, nor after it was forgotten.
settle() {
    while [ -e "$pid_file" ] && ! [ -s "$pid_file" ]; do sleep 0.01; done
}

signal_server() {
    settle
    leader=$(cat "$pid_file" 2>/dev/null) && kill -s "$1" -- "$leader" 2>/dev/null
}

# Asks, waits for the grace and insists.
end() {
    signal_server "$1"
    left=$((grace * 50))
    while [ -e "$pid_file" ] && [ "$left" -gt 0 ]; do
        sleep 0.02
        left=$((left - 1))
    done
    insist
}

insist() {
    settle
    leader=$(cat "$pid_file" 2>/dev/null) && kill -s KILL -- "-$leader" 2>/dev/null
    [ -z "$runner" ] || wait "$runner"
    runner=
}

runner=
while read -r command; do
    case $command in
        start)
            rm -f "$pid_file"
            : >"$pid_file"
            run &
            runner=$!
            ;;
        stop) end "$signal" ;;
        kill) insist ;;
    esac
done

end "$last_signal"
rm -rf "$directory" || { sleep 1 && rm -rf "$directory"; }
