# Completion of sluice for bash; `sluice complete` knows what could come next.
_sluice() {
    local word
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        case $word in
        :files) compopt -o default 2>/dev/null ;;
        :directories) compopt -o dirnames 2>/dev/null ;;
        "${COMP_WORDS[COMP_CWORD]}"*) COMPREPLY+=("$word") ;;
        esac
    done < <(sluice complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _sluice sluice
