# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_luoctl_global_optspecs
    string join \n json dry-run no-color timeout= runtime-directory= h/help V/version
end

function __fish_luoctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_luoctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_luoctl_using_subcommand
    set -l cmd (__fish_luoctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c luoctl -n "__fish_luoctl_needs_command" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_needs_command" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_needs_command" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_needs_command" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_needs_command" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_needs_command" -s V -l version -d 'Print version'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "status" -d 'Shows where the agent is, and how the workloads stand'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "sessions" -d 'Lists all sessions that the agent and the kernel know'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "graph" -d 'Draws which workload needs which: as text, for Graphviz, or as a picture'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "check" -d 'Checks whether an update to a kernel would work. Changes nothing'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "plan" -d 'Shows in which order an update would ask, and what stands in the way'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "prepare" -d 'Checks, tries whether the kernel can be loaded, and asks all workloads to get ready'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "freeze" -d 'After prepare: loads the kernel, and asks all workloads to stand still'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "kexec" -d 'After freeze: jumps into the new kernel'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "cancel" -d 'Ends an update before the jump. All workloads go on'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "update" -d 'All of an update: check, prepare, freeze, jump'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "fleet" -d 'The fleet that the machine is one of'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "finish" -d 'After the jump: ends the update before its deadline'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "release" -d 'Releases a session that the agent holds for a workload that has left, or all of a user'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "hold" -d 'Makes a session for a command, and leaves it with luod'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "take" -d 'Takes a session back that was left with luod, for a command'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "history" -d 'Lists the last updates, or shows the timeline of one'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "watch" -d 'Shows what happens, as it happens'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "inspect" -d 'Shows everything about a session or a workload, or about all'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "completions" -d 'Writes completions for a shell'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "schema" -d 'Writes the JSON schema of what `--json` writes'
complete -c luoctl -n "__fish_luoctl_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l config -d 'Luod\'s configuration, for the slot' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand sessions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -s f -l format -d 'What to draw it as' -r -f -a "text\t'Lines, by level'
dot\t'For Graphviz'
svg\t'A picture'"
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -s o -l output -d 'Writes to a file' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand graph" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l kernel -d 'The kernel\'s image' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l entry -d 'An entry of the boot loader that names the kernel, by its name without `.conf`' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l initrd -d 'Its initrd; once for each, in order. Those of luod.toml are not taken for another kernel' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l command-line -d 'Its command line. Without it that of luod.toml counts, unless `--entry` names an entry; else that of the entry, or that in a unified kernel image, or the running kernel\'s' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l config -d 'Luod\'s configuration, with --offline' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l policy -d 'Luod\'s policy, with --offline' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l offline -d 'Checks without luod: the running kernel, the target and the memory, by luod\'s configuration and policy, and no workloads'
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l kernel -d 'The kernel\'s image' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l entry -d 'An entry of the boot loader that names the kernel, by its name without `.conf`' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l initrd -d 'Its initrd; once for each, in order. Those of luod.toml are not taken for another kernel' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l command-line -d 'Its command line. Without it that of luod.toml counts, unless `--entry` names an entry; else that of the entry, or that in a unified kernel image, or the running kernel\'s' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand prepare" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand freeze" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand kexec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l reason -d 'Why, for the timeline and the workloads' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l force -d 'Also what another program has had the kernel prepare or freeze, or a luod that is gone. The kernel that is loaded for it is unloaded'
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l kernel -d 'The kernel\'s image' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l entry -d 'An entry of the boot loader that names the kernel, by its name without `.conf`' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l initrd -d 'Its initrd; once for each, in order. Those of luod.toml are not taken for another kernel' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l command-line -d 'Its command line. Without it that of luod.toml counts, unless `--entry` names an entry; else that of the entry, or that in a unified kernel image, or the running kernel\'s' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l report -d 'Writes a picture of the update (SVG) to this file when it is over, after the jump too. luod does, so the path is absolute, and luod\'s unit has to allow it: it does so for /var/lib/luod. A file that is there and no such picture is not replaced, and there is no update' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l config -d 'Luod\'s configuration, with --fleet' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -s y -l yes -d 'Does not ask. Where standard input is no terminal, and with `--json`, nobody is asked anyhow'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l fleet -d 'Takes a slot of the fleet before anything is begun, and waits until there is one: what it waits for is told on standard error. If no server can be asked, there is no update. `luoctl fleet keep` gives the slot back (luod.toml, [fleet])'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l no-wait -d 'Asks for the slot once, and ends with exit status 1 if there is none now'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand update" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "status" -d 'Shows the fleet: its groups, and each host with what it waits for and why'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "hold" -d 'Gives a host no slot until `resume`. What it is at goes on'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "resume" -d 'Lets a host have a slot again that was held'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "release" -d 'Takes a host\'s slot from it, whatever has become of the host'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "forget" -d 'Drops a host that is gone for good, so that nobody waits for it'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "slot" -d 'Shows whether this machine has a slot, and what stands in the way of giving it back'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "keep" -d 'Gives this machine\'s slot back when it is time to; runs for ever'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and not __fish_seen_subcommand_from status hold resume release forget slot keep help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l server -d 'The server, in place of those of luod.toml: https://fleet.example.org:7443' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l token -d 'The file with the token, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l ca -d 'The file with the certificates that the server\'s is signed by' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l certificate -d 'The file with a certificate, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l key -d 'The file with its key' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -s w -l watch -d 'Shows it again as often as something changes, until ^C'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l server -d 'The server, in place of those of luod.toml: https://fleet.example.org:7443' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l token -d 'The file with the token, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l ca -d 'The file with the certificates that the server\'s is signed by' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l certificate -d 'The file with a certificate, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l key -d 'The file with its key' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l reason -d 'Why, for the log' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l server -d 'The server, in place of those of luod.toml: https://fleet.example.org:7443' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l token -d 'The file with the token, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l ca -d 'The file with the certificates that the server\'s is signed by' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l certificate -d 'The file with a certificate, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l key -d 'The file with its key' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l reason -d 'Why, for the log' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l server -d 'The server, in place of those of luod.toml: https://fleet.example.org:7443' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l token -d 'The file with the token, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l ca -d 'The file with the certificates that the server\'s is signed by' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l certificate -d 'The file with a certificate, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l key -d 'The file with its key' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l reason -d 'Why, for the log' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l server -d 'The server, in place of those of luod.toml: https://fleet.example.org:7443' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l token -d 'The file with the token, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l ca -d 'The file with the certificates that the server\'s is signed by' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l certificate -d 'The file with a certificate, in place of the machine\'s own' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l key -d 'The file with its key' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l reason -d 'Why, for the log' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from slot" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l config -d 'Luod\'s configuration' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l once -d 'Ends as soon as there is no slot'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "status" -d 'Shows the fleet: its groups, and each host with what it waits for and why'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "hold" -d 'Gives a host no slot until `resume`. What it is at goes on'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "resume" -d 'Lets a host have a slot again that was held'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "release" -d 'Takes a host\'s slot from it, whatever has become of the host'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Drops a host that is gone for good, so that nobody waits for it'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "slot" -d 'Shows whether this machine has a slot, and what stands in the way of giving it back'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "keep" -d 'Gives this machine\'s slot back when it is time to; runs for ever'
complete -c luoctl -n "__fish_luoctl_using_subcommand fleet; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l release -d 'Releases sessions that nobody has claimed, with all that is in them'
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand finish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l user -d 'All sessions of a user whose workloads are not connected' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l force -d 'Also one of the previous kernel that nobody has claimed and that luod knows nothing of: another program\'s; it comes before one that luod has of that name. And one that luod has, and whose note is gone'
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand hold" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand take" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -s n -l most -d 'Lists so many' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -s f -l format -d 'What to show the one update as; of a picture that is the last, if none is named' -r -f -a "text\t'Lines'
svg\t'A picture, for any browser'"
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -s o -l output -d 'Writes to a file' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l config -d 'Luod\'s configuration, for where the history is if luod does not run' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l offline -d 'Reads the disk, without luod'
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l until -d 'Ends when the agent is in this phase' -r -f -a "normal\t''
preparing\t''
prepared\t''
freezing\t''
frozen\t''
jumping\t''
cancelling\t''
updated\t''"
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand inspect" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -l timeout -d 'How long the agent may answer nothing before it is given up. One that may be in the middle of an update is waited for' -r
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -l runtime-directory -d 'The folder of the agent\'s sockets' -r -F
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -l json -d 'Writes JSON for programs; `luoctl schema` says what to expect'
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -l dry-run -d 'Changes nothing: says what would be done, and whether it could be'
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -l no-color -d 'Writes without colours, as to what is no terminal. So does NO_COLOR in the environment'
complete -c luoctl -n "__fish_luoctl_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "status" -d 'Shows where the agent is, and how the workloads stand'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "sessions" -d 'Lists all sessions that the agent and the kernel know'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "graph" -d 'Draws which workload needs which: as text, for Graphviz, or as a picture'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "check" -d 'Checks whether an update to a kernel would work. Changes nothing'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "plan" -d 'Shows in which order an update would ask, and what stands in the way'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "prepare" -d 'Checks, tries whether the kernel can be loaded, and asks all workloads to get ready'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "freeze" -d 'After prepare: loads the kernel, and asks all workloads to stand still'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "kexec" -d 'After freeze: jumps into the new kernel'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "cancel" -d 'Ends an update before the jump. All workloads go on'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "update" -d 'All of an update: check, prepare, freeze, jump'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "fleet" -d 'The fleet that the machine is one of'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "finish" -d 'After the jump: ends the update before its deadline'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "release" -d 'Releases a session that the agent holds for a workload that has left, or all of a user'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "hold" -d 'Makes a session for a command, and leaves it with luod'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "take" -d 'Takes a session back that was left with luod, for a command'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "history" -d 'Lists the last updates, or shows the timeline of one'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "watch" -d 'Shows what happens, as it happens'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "inspect" -d 'Shows everything about a session or a workload, or about all'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "completions" -d 'Writes completions for a shell'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "schema" -d 'Writes the JSON schema of what `--json` writes'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and not __fish_seen_subcommand_from status sessions graph check plan prepare freeze kexec cancel update fleet finish release hold take history watch inspect completions schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "status" -d 'Shows the fleet: its groups, and each host with what it waits for and why'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "hold" -d 'Gives a host no slot until `resume`. What it is at goes on'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "resume" -d 'Lets a host have a slot again that was held'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "release" -d 'Takes a host\'s slot from it, whatever has become of the host'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "forget" -d 'Drops a host that is gone for good, so that nobody waits for it'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "slot" -d 'Shows whether this machine has a slot, and what stands in the way of giving it back'
complete -c luoctl -n "__fish_luoctl_using_subcommand help; and __fish_seen_subcommand_from fleet" -f -a "keep" -d 'Gives this machine\'s slot back when it is time to; runs for ever'
