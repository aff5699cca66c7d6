// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// How often the files of a certificate are read again, and how long a certificate is
// valid that is made here. It is made again after half of that time.
const (
	rereadAfter = 5 * time.Second
	validFor    = 365 * 24 * time.Hour
)

// A certificate is the server's, from a folder or made in memory.
type certificate struct {
	dir string // empty: made in memory
	log *slog.Logger

	mu       sync.Mutex // guards the fields below
	current  *tls.Certificate
	pair     [2][]byte // what current was made of
	until    time.Time // when to look again
	complain string    // the last error that was logged
}

// newCertificate returns the certificate in a folder, in the files tls.crt and tls.key,
// or a new one that it signs itself.
func newCertificate(dir string, log *slog.Logger) (*certificate, error) {
	c := &certificate{dir: dir, log: log}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.look(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// get returns the certificate for a new connection. A replacement that is broken, or
// half written, leaves the one before in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.until) {
		return c.current, nil
	}
	switch err := c.look(now); {
	case err == nil:
		c.complain = ""
	case err.Error() != c.complain:
		c.complain = err.Error()
		c.log.Error("certificate of metrics not replaced", "err", err)
	}
	return c.current, nil
}

// look reads or makes the certificate.
func (c *certificate) look(now time.Time) error {
	if c.dir == "" {
		made, err := selfSigned(now)
		if err != nil {
			return fmt.Errorf("make a certificate: %w", err)
		}
		c.current, c.until = made, now.Add(validFor/2)
		return nil
	}
	c.until = now.Add(rereadAfter)
	var pair [2][]byte
	for i, name := range []string{"tls.crt", "tls.key"} {
		var err error
		if pair[i], err = os.ReadFile(filepath.Join(c.dir, name)); err != nil {
			return fmt.Errorf("read the certificate of metrics: %w", err)
		}
	}
	if c.current != nil && bytes.Equal(pair[0], c.pair[0]) && bytes.Equal(pair[1], c.pair[1]) {
		return nil
	}
	read, err := tls.X509KeyPair(pair[0], pair[1])
	if err != nil {
		return fmt.Errorf("tls.crt and tls.key in %s: %w", c.dir, err)
	}
	if c.current != nil {
		c.log.Info("certificate of metrics replaced", "until", read.Leaf.NotAfter)
	}
	c.current, c.pair = &read, pair
	return nil
}

// selfSigned makes a certificate. Who trusts it trusts the network, as with MetalLB.
func selfSigned(now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "herald"},
		DNSNames:     []string{"localhost", host},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.Add(validFor),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
