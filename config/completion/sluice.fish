# Completion of sluice for fish; `sluice complete` knows what could come next.
function __sluice_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in (sluice complete -- $words[2..-1] 2>/dev/null)
        switch $line
            case ':files'
                __fish_complete_path (commandline -ct)
            case ':directories'
                __fish_complete_directories (commandline -ct)
            case '*'
                echo $line
        end
    end
end
complete -c sluice -f -a '(__sluice_complete)'
