package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	authoritySecret = "process-authority"
	authorityLife   = 20 * 365 * 24 * time.Hour
	leafLife        = 24 * time.Hour
	clockSkew       = 5 * time.Minute
	domain          = ".souk" // of the names under which certificates stand for parts
)

// authority signs the certificates of the processes of one mall.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// sealedAuthority is an authority as it is stored.
type sealedAuthority struct {
	Certificate []byte `json:"certificate"` // DER
	Key         []byte `json:"key"`         // PKCS #8
}

// openAuthority reads the authority, and makes it where there is none: processes that begin together agree on one.
func openAuthority(ctx context.Context, vault Vault, now time.Time) (a *authority, err error) {
	stored, err := vault.Read(ctx, authoritySecret)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		err = vault.Change(ctx, authoritySecret, func(old []byte) ([]byte, error) {
			if stored = old; old != nil {
				return old, nil
			}
			stored, err = newAuthority(now)
			return stored, err
		})
		if err != nil {
			return nil, err
		}
	}
	var sealed sealedAuthority
	if err := json.Unmarshal(stored, &sealed); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", vault.Where(authoritySecret), err)
	}
	certificate, err := x509.ParseCertificate(sealed.Certificate)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", vault.Where(authoritySecret), err)
	}
	key, err := x509.ParsePKCS8PrivateKey(sealed.Key)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", vault.Where(authoritySecret), err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is damaged: its key is a %T", vault.Where(authoritySecret), key)
	}
	return &authority{certificate, private}, nil
}

func newAuthority(now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "souk processes"},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealedAuthority{der, private})
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)) // never fails: see rand.Reader
	return n
}

// issue returns a certificate with which a process proves what it runs, for a day.
func (a *authority) issue(p Process, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: p.ID},
		NotBefore: now.Add(-clockSkew), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		URIs: []*url.URL{{Scheme: "souk", Host: "process", Path: "/" + p.ID}},
	}
	for _, part := range p.Parts {
		template.DNSNames = append(template.DNSNames, part+domain)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// PEM returns the certificate that programs of the shop trust, so that they know a process when they speak to it.
func (p *Peers) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.authority.certificate.Raw})
}

// Identify returns the process at the other end of a connection that Listener accepted. ok is false where it showed no
// certificate: then it is no process of this mall.
func Identify(state *tls.ConnectionState) (id string, ok bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return "", false
	}
	leaf := state.VerifiedChains[0][0]
	for _, u := range leaf.URIs {
		if u.Scheme == "souk" && u.Host == "process" && u.Path == "/"+leaf.Subject.CommonName {
			return leaf.Subject.CommonName, true
		}
	}
	return "", false
}

// credentials are the certificate that this process shows, which is renewed while it runs.
func (p *Peers) credentials() (*tls.Certificate, error) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leaf == nil || now.Sub(p.issued) > leafLife/2 {
		leaf, err := p.authority.issue(p.self, now)
		if err != nil {
			return nil, errors.Join(errors.New("certificate of this process"), err)
		}
		p.leaf, p.issued = leaf, now
	}
	return p.leaf, nil
}
