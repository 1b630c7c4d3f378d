# Bash completion of `arus`. What can be completed is asked of the command itself (its --help, its topics), so that this file need not
# know it.

# The names under "Subcommands:" in the help of a command.
_arus_subcommands() {
  "$@" --help 2>/dev/null | sed -n '/^Subcommands:/,/^$/p' | sed -nE 's/^  ([a-z][a-z-]*) .*/\1/p'
}

_arus() {
  local arus=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local -a path=() bus=() words=()
  local word i names
  COMPREPLY=()

  # The subcommands typed so far, and the bus.
  names=$(_arus_subcommands "$arus")
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    [[ $word == --bus ]] && bus=(--bus "${COMP_WORDS[i + 1]}")
    if [[ -n $names && $'\n'$names$'\n' == *$'\n'"$word"$'\n'* ]]; then
      path+=("$word")
      names=$(_arus_subcommands "$arus" "${path[@]}")
    fi
  done
  local help
  help=$("$arus" "${path[@]}" --help 2>/dev/null)

  # The value of an option.
  case $previous in
    --color) words=(auto always never) ;;
    --wait) words=(spin spin-then-sleep sleep) ;;
    --bus | --*root) mapfile -t COMPREPLY < <(compgen -d -- "$current") && return ;;
    -g | --group)
      mapfile -t words < <("$arus" "${bus[@]}" stat 2>/dev/null | sed -nE 's|^topics/[^/]+/groups/(.*)/holds_back [01]$|\1|p' | sort -u)
      ;;
    -*)
      if grep -qE -- "(^|[ ,])$previous FILE" <<<"$help"; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
      fi
      # Another value is for the user to think of.
      grep -qE -- "(^|[ ,])$previous [A-Z]" <<<"$help" && return
      ;;
  esac

  if ((${#words[@]} == 0)); then
    if [[ $current == -* ]]; then
      mapfile -t words < <(sed -nE 's/^  ((-[a-zA-Z],)?--?[a-zA-Z][a-z-]*)( .*)?$/\1/p' <<<"$help" | tr , '\n')
      words+=(--bus --json --help)
    elif [[ -n $names ]]; then
      mapfile -t words <<<"$names"
    elif [[ ${path[0]:-} == group ]]; then
      mapfile -t words < <("$arus" "${bus[@]}" group list 2>/dev/null | awk 'NR > 1 { print $1 }')
    elif grep -qE '^  (TOPIC|NAME)\b' <<<"$help" && [[ ${path[*]} != "topic create" ]]; then
      mapfile -t words < <("$arus" "${bus[@]}" topic list 2>/dev/null | awk 'NR > 1 { print $1 }')
    elif grep -qE '^  SERVICE\b' <<<"$help"; then
      mapfile -t words < <("$arus" "${bus[@]}" rpc list 2>/dev/null | awk 'NR > 1 { print $1 }')
    fi
  fi
  mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "$current" | sort -u)
}

complete -F _arus arus
