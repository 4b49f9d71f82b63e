package rpc

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.org/souk/mall/command"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/policy.txt as the policy stands")

// methods lists all methods of the contract, whether they have a face or not.
func methods() (list []protoreflect.MethodDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage("souk.v1", func(f protoreflect.FileDescriptor) bool {
		for i := range f.Services().Len() {
			all := f.Services().Get(i).Methods()
			for n := range all.Len() {
				list = append(list, all.Get(n))
			}
		}
		return true
	})
	slices.SortFunc(list, func(a, b protoreflect.MethodDescriptor) int {
		return strings.Compare(string(a.FullName()), string(b.FullName()))
	})
	return list
}

func accessOf(m protoreflect.MethodDescriptor) Access {
	for _, f := range faces() {
		if f.name() == string(m.Parent().FullName()) {
			return f.policy[string(m.Name())]
		}
	}
	return nil
}

// F10: every method with every kind of caller, and with nobody. The table in testdata is what was decided; a method that
// it does not list, or lists otherwise, fails. Red when a policy is widened, when a method has no face, and when the policy is not asked.
func TestF10_EveryMethodWithEveryCaller(t *testing.T) {
	t.Parallel()
	b := begin(t)
	var table strings.Builder
	fmt.Fprintf(&table, "%-42s %-8s %-8s %-8s %-8s\n", "method", Process, Staff, Engineer, Customer)
	for _, m := range methods() {
		method := strings.TrimPrefix(string(m.Parent().FullName()), "souk.v1.") + "/" + string(m.Name())
		access := accessOf(m)
		if access == nil {
			t.Errorf("%s has no policy", method)
		}
		fmt.Fprintf(&table, "%-42s", method)
		contentType, body := "application/json", []byte("{}")
		if m.IsStreamingServer() {
			contentType, body = "application/connect+json", append([]byte{0, 0, 0, 0, 2}, "{}"...)
		}
		for _, kind := range Kinds() {
			fmt.Fprintf(&table, " %-8s", access[kind])
			if endless(m) && access[kind] != None {
				continue // it does not end; TestFeedsAreFollowed and TestRobotsAreFollowed follow
			}
			_, answer := b.post(string(kind)+":C1", method, contentType, body)
			denied := strings.Contains(string(answer), `"code":"permission_denied"`)
			if denied != (access[kind] == None) {
				t.Errorf("%s by %s: %s", method, kind, answer)
			}
		}
		table.WriteString("\n")
		for _, nobody := range []string{"", "stranger", "robot:R1"} {
			_, answer := b.post(nobody, method, contentType, body)
			if !strings.Contains(string(answer), `"code":"unauthenticated"`) && !strings.Contains(string(answer), `"code":"permission_denied"`) {
				t.Errorf("%s by %q: %s", method, nobody, answer)
			}
		}
	}
	const path = "testdata/policy.txt"
	got := strings.ReplaceAll(table.String(), " \n", "\n")
	for strings.Contains(got, " \n") {
		got = strings.ReplaceAll(got, " \n", "\n")
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the policy is\n%s\nand %s says\n%s", got, path, want)
	}
}

// notOffered are the commands that no method gives, and why.
var notOffered = map[string]string{
	command.BackorderOrderV1:    "a reaction of the checkout to what inventory answered",
	command.ReserveOrderStockV1: "a step of the checkout",
	command.FinishCancelOrderV1: "the last step of undoing an order",
	command.ExpireOrderV1:       "the order's own timer",
	command.ExpireReservationV1: "the reservation's own timer",
	command.IssueStockV1:        "a reaction to a departure",
	command.ChargeVisitV1:       "a reaction to what a visit costs",
	command.ScanCardV1:          "devices send it, over MQTT",
	command.ScanExitV1:          "devices send it, over MQTT",
	command.PriceUnknownV1:      "a clerk's, by the command line",
	command.AcceptDeliveryV1:    "the logistics department's, over its bus",
	command.CancelPurchaseV1:    "the logistics department's, over its bus, and a clerk's by the command line",

	command.PickOrderV1:              "a reaction to the depot",
	command.ShortenOrderV1:           "a reaction to the depot",
	command.ReadyOrderV1:             "a reaction to the depot",
	command.PayOrderV1:               "a reaction to payments",
	command.EarmarkPaymentV1:         "a reaction to an order that was placed",
	command.ExpireUncollectedOrderV1: "the order's own timer",
	command.IssueReservedStockV1:     "a reaction to an order that was collected",

	command.ReportStopV1:   "robots say it, over their own stream",
	command.DeliverItemsV1: "robots say it, over their own stream",
	command.CompleteListV1: "robots say it, over their own stream",
	command.RenewLeaseV1:   "robots say it, over their own stream",
}

// Every command has a method of its name, or a reason why not.
func TestEveryCommandHasAMethod(t *testing.T) {
	t.Parallel()
	names := map[string]bool{}
	for _, m := range methods() {
		names[string(m.Name())] = true
	}
	for _, c := range command.All() {
		name := strings.Split(c.CommandType(), ".")[2]
		if _, left := notOffered[c.CommandType()]; names[name] == left {
			t.Errorf("%s: a method %v, left out %v", c.CommandType(), names[name], left)
		}
	}
}

// New refuses a method without a policy, and a policy without its method.
func TestPolicyIsHeld(t *testing.T) {
	t.Parallel()
	s := &server{Config: Config{}, policy: map[string]Access{}, stream: map[string]bool{}}
	for name, policy := range map[string]map[string]Access{
		"a method without":   {"GetLevel": everybody},
		"one too many":       {"GetContact": everybody, "GetOther": everybody},
		"nobody":             {"GetContact": {}},
		"an unknown kind":    {"GetContact": {"cat": All}},
		"a kind without one": {"GetContact": {Staff: None}},
	} {
		f := faces()[6]
		f.policy = policy
		if err := s.add(&f, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	f := faces()[9]
	f.policy = map[string]Access{"ReadLog": {Customer: Own}, "GetHead": machinery}
	if err := s.add(&f, nil); err == nil {
		t.Error("own in a stream: taken")
	}
}
