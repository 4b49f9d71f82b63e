package natsbus

import (
	"fmt"
	"strings"
)

// most is how many subjects a consumer is given at most; a group that takes more types takes everything.
const most = 128

// anyPartition stands for a topic's partition where all are meant.
const anyPartition = -1

// token writes any text as one token of a subject, which is also a name of a stream or consumer: '.' becomes '_', and
// what is neither a letter, a digit nor '-' its two hexadecimal digits behind '='. Different texts have different tokens.
func token(text string) string {
	if text == "" {
		return "="
	}
	var b strings.Builder
	b.Grow(len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		case c == '.':
			b.WriteByte('_')
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// typeTokens writes a type as two tokens, its name and its version, so that one version and all of them are filters.
func typeTokens(wire string) string {
	if i := strings.LastIndex(wire, ".v"); i > 0 && digits(wire[i+2:]) {
		return token(wire[:i]) + "." + wire[i+1:]
	}
	return token(wire) + ".="
}

func digits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// subject is where a topic's messages of a partition and type are published.
func (t *topic) subject(partition int, wire string) string {
	return fmt.Sprintf("%s.%d.%s", t.stream, partition, typeTokens(wire))
}

// filters returns the subjects of what a group takes from a partition. Subjects of one consumer must not overlap.
func (t *topic) filters(partition int, types []string) []string {
	at := fmt.Sprintf("%s.%d", t.stream, partition)
	if partition == anyPartition {
		at = t.stream + ".*"
	}
	everything := []string{at + ".>"}
	if len(types) == 0 {
		return everything
	}
	whole, list := map[string]bool{}, []string{}
	for _, wire := range types {
		if base, ok := strings.CutSuffix(wire, ".v*"); ok && !whole[token(base)] {
			whole[token(base)] = true
			list = append(list, at+"."+token(base)+".*")
		}
	}
	seen := map[string]bool{}
	for _, wire := range types {
		if strings.HasSuffix(wire, ".v*") {
			continue
		}
		if strings.HasSuffix(wire, "*") {
			return everything
		}
		tokens := typeTokens(wire)
		base, _, _ := strings.Cut(tokens, ".")
		if !whole[base] && !seen[tokens] {
			seen[tokens] = true
			list = append(list, at+"."+tokens)
		}
	}
	if len(list) > most {
		return everything
	}
	return list
}
