package spec

import "strings"

// Expand replaces each $(NAME) for which lookup knows a value. "$$" stands
// for one dollar sign and so protects a reference; a reference that lookup
// does not know, and a "$(" that is never closed, stay as they are.
func Expand(in string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(in, "$") {
		return in
	}
	var out strings.Builder
	for i := 0; i < len(in); i++ {
		if in[i] != '$' || i+1 == len(in) {
			out.WriteByte(in[i])
			continue
		}
		switch in[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(in[i+2:], ')')
			if end < 0 {
				out.WriteString("$(")
				i++
				continue
			}
			name := in[i+2 : i+2+end]
			if value, ok := lookup(name); ok {
				out.WriteString(value)
			} else {
				out.WriteString("$(" + name + ")")
			}
			i += end + 2
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// ExpandAll expands every element.
func ExpandAll(in []string, lookup func(name string) (string, bool)) []string {
	if in == nil {
		return nil
	}
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = Expand(s, lookup)
	}
	return out
}
