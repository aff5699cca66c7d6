// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// A Probe is how a node finds out whether an address of a Service answers. Probes compare
// with ==. The zero Probe is none.
type Probe struct {
	Protocol ProbeProtocol
	Port     uint16 // of the Service; 0: its first TCP port
	Path     string // HTTP: what is requested
	Host     string // HTTP: the header Host; empty: the address
	Interval time.Duration
	Timeout  time.Duration
	Success  int  // how many answers in a row end a failure
	Failure  int  // how many probes in a row fail before it counts
	Withdraw bool // when the probe fails on all nodes, none announces the address; else all go on
}

// A ProbeProtocol is what a Probe is carried out with.
type ProbeProtocol string

// The protocols of a Probe.
const (
	ProbeTCP  ProbeProtocol = "TCP"  // a connection is answer enough
	ProbeHTTP ProbeProtocol = "HTTP" // a status from 200 to 399 is
)

// IsZero reports whether there is no probe.
func (p Probe) IsZero() bool { return p == Probe{} }

// String returns the probe in words.
func (p Probe) String() string {
	at := "the first TCP port"
	if p.Port != 0 {
		at = fmt.Sprintf("port %d", p.Port)
	}
	what := fmt.Sprintf("%s to %s", p.Protocol, at)
	if p.Protocol == ProbeHTTP {
		what = fmt.Sprintf("%s %s at %s", p.Protocol, p.Path, at)
	}
	return what + " every " + p.Interval.String()
}

// whenAllFail are the values of that field.
const (
	probeKeep     = "keep"
	probeWithdraw = "withdraw"
)

// maxProbeText bounds the path and the host of a probe, in bytes.
const maxProbeText = 253

// rawProbe is a Probe as written.
type rawProbe struct {
	Protocol    string  `json:"protocol,omitempty"`
	Port        *int32  `json:"port,omitempty"`
	Path        *string `json:"path,omitempty"`
	Host        string  `json:"host,omitempty"`
	Period      *int32  `json:"periodSeconds,omitempty"`
	Timeout     *int32  `json:"timeoutSeconds,omitempty"`
	Success     *int32  `json:"successThreshold,omitempty"`
	Failure     *int32  `json:"failureThreshold,omitempty"`
	WhenAllFail string  `json:"whenAllFail,omitempty"`
}

// probe reads how an advertisement's addresses are probed; nil: they are not.
func (d *decoder) probe(raw *rawProbe) Probe {
	if raw == nil {
		return Probe{}
	}
	const path = "spec.probe"
	p := Probe{
		Protocol: ProbeProtocol(raw.Protocol),
		Port:     uint16(d.within(path+".port", raw.Port, 0, 1, 65535)),
		Host:     raw.Host,
		Interval: time.Duration(d.within(path+".periodSeconds", raw.Period, 5, 1, 3600)) * time.Second,
		Timeout:  time.Duration(d.within(path+".timeoutSeconds", raw.Timeout, 1, 1, 60)) * time.Second,
		Success:  d.within(path+".successThreshold", raw.Success, 2, 1, 100),
		Failure:  d.within(path+".failureThreshold", raw.Failure, 3, 1, 100),
		Withdraw: raw.WhenAllFail == probeWithdraw,
	}
	if p.Timeout > p.Interval {
		d.fail(path+".timeoutSeconds", "%d is above periodSeconds, %d: a probe must end before the next", p.Timeout/time.Second, p.Interval/time.Second)
	}
	if raw.WhenAllFail != "" && raw.WhenAllFail != probeKeep && raw.WhenAllFail != probeWithdraw {
		d.fail(path+".whenAllFail", "%q is unknown, must be %s or %s", raw.WhenAllFail, probeKeep, probeWithdraw)
	}
	switch p.Protocol {
	case ProbeTCP, "":
		p.Protocol = ProbeTCP
		if raw.Path != nil {
			d.fail(path+".path", "only a probe of protocol %s has a path", ProbeHTTP)
		}
		if raw.Host != "" {
			d.fail(path+".host", "only a probe of protocol %s has a host", ProbeHTTP)
		}
	case ProbeHTTP:
		if p.Path = "/"; raw.Path != nil {
			p.Path = *raw.Path
		}
		if _, err := url.ParseRequestURI(p.Path); err != nil || !strings.HasPrefix(p.Path, "/") || !printable(p.Path) {
			d.fail(path+".path", "%q is no path of a URL, must begin with / and have at most %d letters, digits and signs", p.Path, maxProbeText)
		}
		if !printable(p.Host) || strings.ContainsAny(p.Host, "/?#@") {
			d.fail(path+".host", "%q is no host, must be a name or an address, with or without a port", p.Host)
		}
	default:
		d.fail(path+".protocol", "%q is unknown, must be %s or %s", raw.Protocol, ProbeTCP, ProbeHTTP)
	}
	return p
}

// within returns a number, or another one if it is not written. It reports one that is out
// of range.
func (d *decoder) within(path string, n *int32, other, least, most int) int {
	if n == nil {
		return other
	}
	if int(*n) < least || int(*n) > most {
		d.fail(path, "%d is out of range, must be %d to %d", *n, least, most)
	}
	return int(*n)
}

// printable reports whether a text is short, and has no spaces, control characters or
// others beyond ASCII.
func printable(text string) bool {
	return len(text) <= maxProbeText && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
