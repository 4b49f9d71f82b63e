package mall

import "strings"

// Personal is a sealed personal field: the name, mail address or phone number of a customer, encrypted under that
// customer's key. It is an opaque token that the key service of the backbone makes at the border where the field comes in.
//
// Events, commands, views, dead letters, logs and brokers only ever carry the token. It is opened at the edges alone: by
// the call that sends a mail or a message, and by a gateway that answers its owner or someone who may see it. When the customer's key is
// destroyed the token stays where it is and can never be opened again; that is how somebody is forgotten without a record being changed.
//
// The empty token means that the customer gave no such field. The same text of the same customer gives the same token, so a
// command that comes again is known, and a contact that did not change is seen not to have. Tokens of different customers tell
// nothing of each other and cannot be searched for.
type Personal string

// MaxPersonal is the greatest length of a token, in bytes.
const MaxPersonal = 2048

// ValidNumber reports whether a text is the number of a telephone as people write it: 15 digits at most, as ITU-T E.164 has it.
func ValidNumber(text string) bool {
	digits := 0
	for _, r := range text {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case !strings.ContainsRune("+ ()-", r):
			return false
		}
	}
	return 1 <= digits && digits <= 15 && len(text) <= 32
}
