package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.org/souk/internal/testserver"
)

// authority signs certificates of processes, as that of a mall does.
type authority struct {
	certificate *x509.Certificate
	key         any
}

// authorityOf reads the authority of a mall out of its database, where nobody but its processes comes.
func authorityOf(t *testing.T, m *mall) authority {
	t.Helper()
	var sealed struct{ Certificate, Key []byte }
	if err := json.Unmarshal([]byte(rowsOf(t, m.db, `SELECT value FROM mall.secret WHERE name = 'process-authority'`)[0]), &sealed); err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(sealed.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(sealed.Key)
	if err != nil {
		t.Fatal(err)
	}
	return authority{certificate, key}
}

// leaf is a certificate as processes have them, of a part that runs until then.
func leaf(part string, until time.Time) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "eve"}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "souk", Host: "process", Path: "/eve"}}, DNSNames: []string{part + ".souk"},
	}
}

// sign signs a certificate; the zero authority has it sign itself.
func (a authority) sign(t *testing.T, template *x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate == nil {
		a = authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// newAuthority is that of another mall.
func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "souk processes"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a, a, key.Public(), key)
	if err == nil {
		a, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	return authority{a, key}
}

// F10: processes believe nobody by a certificate that is over, of another authority, of another part or signed by itself: neither one whom they call, nor
// one who calls them. Each is told of in the log, once however often it comes, and the mall goes on. Red where the certificate of the other side is not
// checked, and where nothing, or each attempt, is logged.
func TestF10_CertificatesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	m := split(t, program(t), t.TempDir(), testserver.Postgres(t).Database(t),
		[]string{"online", "stores customers keys notifications orders payments analytics depot baskets search", "inventory"}, "--mqtt", "off", "--logistics", "off")
	m.seed()
	ours, soon, over := authorityOf(t, m), time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	kinds := map[string]struct {
		shown      tls.Certificate
		says       string // what is said of a process that shows it
		saysCaller string // and of a caller; empty: it is a process of the mall, and let in
	}{
		"over":              {ours.sign(t, leaf("inventory", over)), "expired", "expired"},
		"another authority": {newAuthority(t).sign(t, leaf("inventory", soon)), "unknown authority", "unknown authority"},
		"signed by itself":  {authority{}.sign(t, leaf("inventory", soon)), "unknown authority", "unknown authority"},
		"another part":      {ours.sign(t, leaf("stores", soon)), "stores.souk, not inventory.souk", ""},
	}

	// Those who say that they run inventory, which is away.
	online, inventory := m.others[0], m.others[2]
	inventory.proc.Kill9()
	addresses := map[string]string{}
	var believed atomic.Int64
	db := opened(t, m.db, "rw")
	defer db.Close()
	for kind, c := range kinds {
		addresses[kind] = impostor(t, c.shown, &believed)
		if _, err := db.ExecContext(t.Context(), `INSERT INTO mall.process (id, host, pid, version, parts, address, started, seen)
			VALUES ($1, 'there', 1, 'x', 'inventory', $2, $3, $4)`, "eve-"+addresses[kind], addresses[kind], time.Now().UnixMicro(), soon.UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
	told := func(p *part, words ...string) (lines int) {
		for line := range strings.Lines(p.proc.Stderr()) {
			all := json.Valid([]byte(line))
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				lines++
			}
		}
		return lines
	}
	stock := func() int { status, _ := m.call("GET", "/stock/PRODUCT_001", ""); return status }
	await(t, "all who say that they run inventory were asked", func() bool {
		if status := stock(); status == 200 {
			t.Fatal("somebody else was believed")
		}
		for kind, c := range kinds {
			if told(online, "passed over", addresses[kind], c.says) == 0 {
				return false
			}
		}
		return true
	})
	for range 3 {
		stock()
	}
	m.beginPart(inventory)
	await(t, "the stock is shown again", func() bool { return stock() == 200 })
	for kind := range kinds {
		if n := told(online, "passed over", addresses[kind]); n != 1 {
			t.Errorf("%s: it is told of %d times", kind, n)
		}
	}
	if n := believed.Load(); n != 0 {
		t.Errorf("who could not prove it was asked %d times", n)
	}

	// Those who call as a process.
	address := strings.TrimSpace(strings.TrimPrefix(inventory.proc.WaitLine("processes "), "processes"))
	for kind, c := range kinds {
		before := told(inventory, "refused", c.saysCaller)
		for range 3 {
			status, err := headOf(t, address, c.shown)
			if refused := c.saysCaller != ""; refused && err == nil || !refused && err != nil {
				t.Errorf("%s: %d, %v", kind, status, err)
			}
		}
		if c.saysCaller != "" && kind != "signed by itself" { // which is told of as another authority's is
			await(t, "it is told of", func() bool { return told(inventory, "refused", c.saysCaller) > 0 })
		}
		if n := told(inventory, "refused", c.saysCaller) - before; n > 1 {
			t.Errorf("%s: it is told of %d times", kind, n)
		}
	}
	nobody := ours.sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "eve"}, NotBefore: over, NotAfter: soon,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, DNSNames: []string{"inventory.souk"},
	})
	if status, err := headOf(t, address, nobody); status != 401 {
		t.Errorf("a certificate of no process: %d, %v", status, err)
	}
	if strings.Contains(inventory.proc.Stderr(), "http: ") || strings.Contains(online.proc.Stderr(), "http: ") {
		t.Error("something is logged beside the log")
	}
	m.must(202, "POST", "/order", order1)
	m.awaitStatus("ORDER_001", "APPROVED")
}

// impostor listens with a certificate and counts who speaks to it nevertheless.
func impostor(t *testing.T, shown tls.Certificate, believed *atomic.Int64) (address string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{shown}, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // it is closed
			}
			go func(c net.Conn) {
				defer c.Close()
				if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
					believed.Add(1)
				}
			}(c)
		}
	}()
	return l.Addr().String()
}

// headOf asks a process for the head of a log, as whoever has a certificate.
func headOf(t *testing.T, address string, shown tls.Certificate) (status int, err error) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &shown, nil },
	}}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+address+"/souk.v1.LogService/GetHead", strings.NewReader(`{"service":"inventory"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
