// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A User is someone whom a Cluster's API server knows.
type User string

// Users of every Cluster. Controller and Agent are the service accounts of
// Herald's manifests: they may do nothing until those are applied.
const (
	Admin      User = "admin"
	Controller User = "herald-controller"
	Agent      User = "herald-agent"

	proxyUser   User = "kube-proxy"
	managerUser User = "kube-controller-manager"
)

// An identity is what the API server takes a user for.
type identity struct {
	name   string
	groups []string
}

var identities = map[User]identity{
	Admin:       {"admin", []string{"system:masters"}},
	Controller:  serviceAccount("metallb-system", "herald-controller"),
	Agent:       serviceAccount("metallb-system", "herald-agent"),
	proxyUser:   {"system:kube-proxy", nil},
	managerUser: {"system:kube-controller-manager", []string{"system:masters"}},
}

// serviceAccount is the identity that the API server gives to the bearer of a
// service account's token.
func serviceAccount(namespace, name string) identity {
	return identity{
		name:   fmt.Sprintf("system:serviceaccount:%s:%s", namespace, name),
		groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace},
	}
}

// An access is how to reach an API server and be believed.
type access struct {
	server string // https://host:port
	ca     []byte // PEM
	tokens map[User]string
}

// newAccess writes what an API server at the given address needs to prove who it
// is, and to know its users, into dir: tls.crt and tls.key, sa.pub and sa.key,
// tokens.csv, and a kubeconfig file for each user.
func newAccess(dir string, server netip.AddrPort) (*access, error) {
	a := &access{server: "https://" + server.String(), tokens: make(map[User]string)}
	var err error
	if a.ca, err = writeServingPair(dir, server.Addr()); err != nil {
		return nil, fmt.Errorf("serving certificate: %w", err)
	}
	if err := writeSigningPair(dir); err != nil {
		return nil, fmt.Errorf("service account key: %w", err)
	}
	for user := range identities {
		a.tokens[user] = rand.Text()
	}
	if err := a.writeTokens(filepath.Join(dir, "tokens.csv")); err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	for user := range identities {
		if err := clientcmd.WriteToFile(a.kubeconfig(user), kubeconfigPath(dir, user)); err != nil {
			return nil, fmt.Errorf("kubeconfig of %s: %w", user, err)
		}
	}
	return a, nil
}

// readAccess reads what newAccess has written.
func readAccess(dir string) (*access, error) {
	a := &access{tokens: make(map[User]string)}
	for user := range identities {
		config, err := clientcmd.LoadFromFile(kubeconfigPath(dir, user))
		if err != nil {
			return nil, fmt.Errorf("kubeconfig of %s: %w", user, err)
		}
		a.server, a.ca = config.Clusters["lab"].Server, config.Clusters["lab"].CertificateAuthorityData
		a.tokens[user] = config.AuthInfos[string(user)].Token
	}
	return a, nil
}

func kubeconfigPath(dir string, user User) string {
	return filepath.Join(dir, string(user)+".kubeconfig")
}

func (a *access) kubeconfig(user User) clientcmdapi.Config {
	c := clientcmdapi.NewConfig()
	c.Clusters["lab"] = &clientcmdapi.Cluster{Server: a.server, CertificateAuthorityData: a.ca}
	c.AuthInfos[string(user)] = &clientcmdapi.AuthInfo{Token: a.tokens[user]}
	c.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: string(user)}
	c.CurrentContext = "lab"
	return *c
}

func (a *access) restConfig(user User) *rest.Config {
	return &rest.Config{
		Host:            a.server,
		BearerToken:     a.tokens[user],
		TLSClientConfig: rest.TLSClientConfig{CAData: a.ca},
		QPS:             -1,                // the lab measures others; it must not wait itself
		WarningHandler:  rest.NoWarnings{}, // MetalLB's ways of asking for an address are deprecated
	}
}

// writeTokens writes the file that --token-auth-file reads: token, name, UID and
// groups on a line.
func (a *access) writeTokens(path string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	for user, id := range identities {
		if err := w.Write([]string{a.tokens[user], id.name, string(user), strings.Join(id.groups, ",")}); err != nil {
			return err
		}
	}
	w.Flush()
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// writeServingPair makes an authority that lasts as long as this call, has it
// sign a certificate for addr, writes that and its key, and returns the
// authority's certificate.
func writeServingPair(dir string, addr netip.Addr) (ca []byte, err error) {
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "herald lab"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	serving := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "kube-apiserver"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost", "kubernetes.default.svc"},
		// The API server calls itself by its loopback address.
		IPAddresses: []net.IP{addr.AsSlice(), net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	authorityKey, err := newKey()
	if err != nil {
		return nil, err
	}
	servingKey, err := newKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, err
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	der, err = x509.CreateCertificate(rand.Reader, serving, authority, servingKey.Public(), authorityKey)
	if err != nil {
		return nil, err
	}
	if err := writePEM(filepath.Join(dir, "tls.crt"), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return ca, writeKey(filepath.Join(dir, "tls.key"), servingKey)
}

// writeSigningPair writes the keys that service account tokens are signed with
// and verified by.
func writeSigningPair(dir string) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "sa.pub"), "PUBLIC KEY", der); err != nil {
		return err
	}
	return writeKey(filepath.Join(dir, "sa.key"), key)
}

func newKey() (crypto.Signer, error) {
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func writeKey(path string, key crypto.Signer) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
