package spec

import (
	"fmt"
	"strings"
)

// parseEnvFile finds a variable in the env-file format of Kubernetes: lines
// NAME='value' (single quotes, the value may span lines), blank lines and
// lines that start with #. The last definition of a name wins.
func parseEnvFile(text, key string) (value string, found bool, err error) {
	for line := 1; text != ""; line++ {
		trimmed := strings.TrimLeft(text, " \t")
		if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, "\n") || strings.HasPrefix(trimmed, "\r\n") {
			_, text, _ = strings.Cut(text, "\n")
			continue
		}
		if trimmed == "" {
			return value, found, nil
		}
		name, rest, ok := strings.Cut(trimmed, "=")
		if !ok || strings.ContainsAny(name, "\n'") {
			return "", false, fmt.Errorf("invalid format in env file at line %d: expected NAME='value'", line)
		}
		var v string
		if strings.HasPrefix(rest, "'") {
			end := strings.IndexByte(rest[1:], '\'')
			if end < 0 {
				return "", false, fmt.Errorf("invalid format in env file at line %d: missing closing quote", line)
			}
			v = rest[1 : 1+end]
			line += strings.Count(v, "\n")
			_, text, _ = strings.Cut(rest[end+2:], "\n")
		} else {
			v, text, _ = strings.Cut(rest, "\n")
			v = strings.TrimRight(v, "\r")
		}
		if strings.TrimSpace(name) == key {
			value, found = v, true
		}
	}
	return value, found, nil
}
