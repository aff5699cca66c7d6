// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Flags are the flags of a daemon about who may read its pages. They have MetalLB's
// names, but for --secure-metrics: MetalLB's metrics are always secure.
type Flags struct {
	given func() bool // whether --secure-metrics is

	secure     bool
	certDir    string
	probePort  int
	minVersion string
	suites     string
	curves     string
}

// Add adds the flags to a command.
func (f *Flags) Add(cmd *cobra.Command) {
	fs := cmd.Flags()
	f.given = func() bool { return fs.Changed("secure-metrics") }
	fs.BoolVar(&f.secure, "secure-metrics", false, "serve /metrics and /status over TLS alone, to clients whose bearer token may get these paths (TokenReview and SubjectAccessReview); on if one of the flags about TLS is given. Probes stay in plain HTTP at the same port")
	fs.StringVar(&f.certDir, "metrics-cert-dir", "", "`directory` with the certificate, in the files tls.crt and tls.key, which are read again when they change; empty: a new certificate that nobody signed")
	fs.StringVar(&f.minVersion, "tls-min-version", "", "least `version` of TLS: VersionTLS12 or VersionTLS13, which is the default")
	fs.StringVar(&f.suites, "tls-cipher-suites", "", "`names` of cipher suites for TLS 1.2, with commas between them; empty: Go's")
	fs.StringVar(&f.curves, "tls-curve-preferences", "", "`numbers` of key exchanges (IANA), with commas between them; empty: Go's")
	fs.IntVar(&f.probePort, "health-probe-port", 0, "one more port for the probes, in plain HTTP; 0: none")
}

// wantsTLS reports whether pages need TLS: if --secure-metrics does not say so, because
// a flag says how it is to be.
func (f *Flags) wantsTLS() bool {
	if f.given != nil && f.given() {
		return f.secure
	}
	return f.certDir != "" || f.minVersion != "" || f.suites != "" || f.curves != ""
}

// versions are the versions of TLS by MetalLB's names for them.
var versions = map[string]uint16{"": tls.VersionTLS13, "VersionTLS12": tls.VersionTLS12, "VersionTLS13": tls.VersionTLS13}

// config returns the TLS configuration that the flags ask for.
func (f *Flags) config() (*tls.Config, error) {
	version, ok := versions[f.minVersion]
	if !ok {
		return nil, fmt.Errorf("--tls-min-version %q: want VersionTLS12 or VersionTLS13", f.minVersion)
	}
	c := &tls.Config{MinVersion: version}
	for name := range list(f.suites) {
		suites := tls.CipherSuites()
		i := slices.IndexFunc(suites, func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--tls-cipher-suites: %q is not among the secure cipher suites of Go", name)
		}
		c.CipherSuites = append(c.CipherSuites, suites[i].ID)
	}
	for number := range list(f.curves) {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || !slices.Contains(curves, tls.CurveID(n)) {
			return nil, fmt.Errorf("--tls-curve-preferences: %q: want numbers among %d", number, curves)
		}
		c.CurvePreferences = append(c.CurvePreferences, tls.CurveID(n))
	}
	return c, nil
}

// curves are the key exchanges that Go has.
var curves = []tls.CurveID{tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519, tls.X25519MLKEM768}

// list returns the words of a flag.
func list(text string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for word := range strings.SplitSeq(text, ",") {
			if word = strings.TrimSpace(word); word != "" && !yield(word) {
				return
			}
		}
	}
}
