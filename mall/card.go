package mall

import "regexp"

// NoCard is the reason for which a field is refused whose text holds the number of a payment card.
const NoCard = "must not have the number of a payment card, or what looks like one"

// Payment cards have numbers of 13 to 19 digits.
const shortestCard, longestCard = 13, 19

var (
	// digits finds digits between which there is little else.
	digits = regexp.MustCompile(`[0-9](?:[^0-9\pL]{0,2}[0-9])*`)
	group  = regexp.MustCompile(`[0-9]+`)
)

// HoldsCard reports whether a text that somebody typed holds the number of a payment card: as one number, or in the groups that stand on cards. Nobody here is to
// have such a number, so texts that hold one are refused where they come in; see PCI DSS, requirement 3. A number of another kind passes for one in one of ten
// cases, if it is as long and written so. Ids are no such texts: they are opaque.
func HoldsCard(text string) bool {
	for _, run := range digits.FindAllString(text, -1) {
		groups := group.FindAllString(run, -1)
		for from := range groups {
			number := ""
			for to := from; to < len(groups) && len(number) <= longestCard; to++ {
				number += groups[to]
				if len(number) >= shortestCard && len(number) <= longestCard && grouped(groups[from:to+1]) && checks(number) {
					return true
				}
			}
		}
	}
	return false
}

// grouped reports whether a number is written as on a card: in one, in groups of four with the rest at the end, or in four, six and the rest.
func grouped(groups []string) bool {
	last := len(groups) - 1
	if last == 2 && len(groups[0]) == 4 && len(groups[1]) == 6 {
		return len(groups[2]) == 4 || len(groups[2]) == 5
	}
	for _, g := range groups[:last] {
		if len(g) != 4 {
			return false
		}
	}
	return last == 0 || len(groups[last]) <= 4
}

// checks reports whether the last digit of a number is the check digit of the others, as ISO/IEC 7812-1 has it (Luhn).
func checks(number string) bool {
	sum := 0
	for i := range len(number) {
		d := int(number[len(number)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
