package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	soukv1 "example.org/souk/api/gen/souk/v1"
	"example.org/souk/api/gen/souk/v1/soukv1connect"
	"example.org/souk/internal/testserver"
)

// dial opens a gRPC client of its own to an address of the mall.
func (m *mall) dial(url string) *grpc.ClientConn {
	m.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(url, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// bearer is the context of a call of a role.
func (m *mall) bearer(role, subject string) context.Context {
	m.t.Helper()
	token := strings.TrimSpace(m.souk("token", "--role", role, "--subject", subject))
	ctx, cancel := context.WithTimeout(m.t.Context(), 30*time.Second)
	m.t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// soldOverGRPC asks what was sold, how far orders came and how long they took, where ORDER_001 is all there is; customers are not told.
func (m *mall) soldOverGRPC(conn *grpc.ClientConn) {
	m.t.Helper()
	staff := m.bearer("staff", "anna")
	from, until := timestamppb.New(time.Now().Add(-time.Hour)), timestamppb.New(time.Now().Add(time.Hour))
	sold := func(ctx context.Context, by soukv1.SalesBy) (*soukv1.BreakDownSalesResponse, error) {
		r := &soukv1.BreakDownSalesResponse{}
		return r, conn.Invoke(ctx, soukv1connect.AnalyticsServiceBreakDownSalesProcedure, &soukv1.BreakDownSalesRequest{By: by, From: from, Until: until}, r)
	}
	list, err := sold(staff, soukv1.SalesBy_SALES_BY_PRODUCT)
	if f := list.GetFigures(); err != nil || len(f) != 2 || f[0].GetSku() != "PRODUCT_001" || f[0].GetShop() == "" || f[0].GetUnits() != 3 ||
		f[0].GetOrders() != 1 || f[0].GetSold().GetAmount() != 3000 || f[1].GetNet().GetAmount() != 1000 || f[0].GetHour() != nil {
		m.t.Errorf("by product: %v %v", list, err)
	}
	list, err = sold(staff, soukv1.SalesBy_SALES_BY_HOUR)
	if f := list.GetFigures(); err != nil || len(f) != 1 || f[0].GetHour().AsTime().Minute() != 0 || f[0].GetNet().GetAmount() != 4000 || f[0].GetNet().GetCurrency() != "EUR" {
		m.t.Errorf("by hour: %v %v", list, err)
	}
	if _, err := sold(staff, soukv1.SalesBy_SALES_BY_UNSPECIFIED); status.Code(err) != codes.InvalidArgument {
		m.t.Errorf("by nothing: %v", err)
	}
	if _, err := sold(m.bearer("customer", "CUSTOMER_001"), soukv1.SalesBy_SALES_BY_HOUR); status.Code(err) != codes.PermissionDenied {
		m.t.Errorf("a customer: %v", err)
	}
	funnel := &soukv1.GetFunnelResponse{}
	err = conn.Invoke(staff, soukv1connect.AnalyticsServiceGetFunnelProcedure, &soukv1.GetFunnelRequest{From: from, Until: until}, funnel)
	var approved int64
	for _, s := range funnel.GetSteps() {
		if s.GetPath() == "direct" && s.GetStep() == "approved" {
			approved = s.GetReached()
		}
	}
	if err != nil || approved != 1 {
		m.t.Errorf("the funnel: %v %v", funnel, err)
	}
	times := &soukv1.GetTimeToReadyResponse{}
	err = conn.Invoke(staff, soukv1connect.AnalyticsServiceGetTimeToReadyProcedure, &soukv1.GetTimeToReadyRequest{From: from, Until: until}, times)
	if err != nil || len(times.GetTimes()) != 2 || times.GetTimes()[0].GetSince() != "placed" {
		m.t.Errorf("time to ready: %v %v", times, err)
	}
}

// B1 and F10 for programs: an order by gRPC is read as JSON and repeated, and is the same order in the online store; health
// is for everybody who is known, reflection for engineers; what was taken is there after a kill -9. Red when the port does not speak HTTP/2, when
// tokens are not asked for, and when an order is answered before it is durable.
func TestC4_OrdersOfPrograms(t *testing.T) {
	t.Parallel()
	m := start(t, program(t), t.TempDir(), nil)
	m.seed()
	conn := m.dial(m.url)
	customer := m.bearer("customer", "CUSTOMER_001")
	request := &soukv1.PlaceOrderRequest{CommandId: "k1", Order: "ORDER_001", Customer: "CUSTOMER_001", Items: []*soukv1.Item{
		{Product: "PRODUCT_001", Quantity: 3}, {Product: "PRODUCT_002", Quantity: 2},
	}}
	place := func(ctx context.Context) (*soukv1.Answer, error) {
		r := &soukv1.PlaceOrderResponse{}
		err := conn.Invoke(ctx, soukv1connect.OrdersServicePlaceOrderProcedure, request, r)
		return r.GetAnswer(), err
	}
	if _, err := place(t.Context()); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a token: %v", err)
	}
	if _, err := place(m.bearer("customer", "CUSTOMER_002")); status.Code(err) != codes.NotFound {
		t.Errorf("for another: %v", err)
	}
	first, err := place(customer)
	if err != nil || first.GetRepeated() {
		t.Fatalf("%v %v", first, err)
	}
	again, err := place(customer)
	if err != nil || !again.GetRepeated() || again.GetEvents()[0].GetId() != first.GetEvents()[0].GetId() {
		t.Errorf("again: %v %v", again, err)
	}
	m.awaitStatus("ORDER_001", "APPROVED")
	if a := m.available("PRODUCT_001"); a != 7 {
		t.Errorf("available %d, want 7", a)
	}

	m.idle()
	m.soldOverGRPC(conn)

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url+"/souk.v1.OrdersService/GetOrder", strings.NewReader(`{"order":"ORDER_001"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(m.souk("token", "--role", "staff", "--subject", "anna")))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Order struct {
			Status string
			Total  struct{ Amount, Currency string }
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.Order.Status != "ORDER_STATUS_APPROVED" || answer.Order.Total.Amount != "4000" {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}

	process := m.dial(m.of("orders").url) // each process speaks of itself
	healthy, err := grpc_health_v1.NewHealthClient(process).Check(customer, &grpc_health_v1.HealthCheckRequest{Service: "souk.v1.OrdersService"})
	if err != nil || healthy.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("health: %v %v", healthy, err)
	}
	reflect := func(ctx context.Context) (names string, err error) {
		stream, err := grpc_reflection_v1.NewServerReflectionClient(process).ServerReflectionInfo(ctx)
		if err == nil {
			_ = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}) // Recv says why not
		}
		if err != nil {
			return "", err
		}
		list, err := stream.Recv()
		return fmt.Sprint(list.GetListServicesResponse().GetService()), err
	}
	if names, err := reflect(m.bearer("engineer", "eve")); err != nil || !strings.Contains(names, "souk.v1.OrdersService") || !strings.Contains(names, "souk.v1.CommandsService") {
		t.Errorf("reflection for an engineer: %s, %v", names, err)
	}
	if _, err := reflect(customer); status.Code(err) != codes.PermissionDenied {
		t.Errorf("reflection for a customer: %v", err)
	}

	request.CommandId, request.Order, request.Items = "k2", "ORDER_002", request.GetItems()[:1]
	request.Items[0].Quantity = 2
	if _, err := place(customer); err != nil {
		t.Fatal(err)
	}
	m.kill9()
	m.begin()
	m.awaitStatus("ORDER_002", "APPROVED")
	m.holdsRebuilt()
}

// What docs/rpc.md shows is run as it stands there, in the shop that a first start fills.
func TestDocsOfPrograms(t *testing.T) {
	t.Parallel()
	binary, dir := program(t), t.TempDir()
	p := testserver.Command{Args: []string{binary, "--data", dir, "up", "--http", "127.0.0.1:0"}}.Start(t)
	url := strings.TrimSpace(strings.TrimPrefix(p.WaitLine("online store"), "online store"))
	p.WaitLine("ready")
	page, err := os.ReadFile("../../docs/rpc.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "## With curl\n")
	part, _, found := strings.Cut(rest, "\n## ")
	if !found {
		t.Fatal("the page has no part about curl")
	}
	var script strings.Builder
	for line := range strings.Lines(part) {
		command, indented := strings.CutPrefix(line, "    ")
		if indented && !strings.HasPrefix(command, "{") {
			script.WriteString(command)
		}
	}
	commands := strings.NewReplacer("souk token", binary+" --data "+dir+" token", "http://127.0.0.1:8080", url).Replace(script.String())
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", commands)
	out, err := cmd.CombinedOutput()
	for _, want := range []string{
		`"commandId":"till-7-0001"`, `"type":"souk.orders.OrderPlaced.v1"`, `"order":"R-1"`, `"name":"Mint tea, 250 g"`,
		`"status":"BASKET_STATUS_OPEN"`, `"storeName":"Main hall"`, `"type":"souk.baskets.BasketCheckedOut.v1"`,
	} {
		if err != nil || !strings.Contains(strings.ReplaceAll(string(out), ": ", ":"), want) {
			t.Fatalf("%v: no %s in\n%s\nof\n%s", err, want, out, commands)
		}
	}
}
