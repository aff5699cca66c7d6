// SPDX-License-Identifier: Apache-2.0

// Package kernel reads from the kernel why TCP connections are not established, and
// whether a host answers at all. It is about the network namespace of the process.
package kernel

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Signatures count the packets that were dropped because of their TCP MD5 signature
// (RFC 2385), since the namespace was created.
type Signatures struct {
	Missing    uint64 // no signature, though a password is set
	Wrong      uint64 // the signature of another password
	Unexpected uint64 // a signature, though no password is set
}

// ReadSignatures reads the counters.
func ReadSignatures() (Signatures, error) {
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		return Signatures{}, err
	}
	return ParseSignatures(string(text))
}

// ParseSignatures finds the counters in the text of /proc/net/netstat: a line of
// names, and one of numbers, for each group.
func ParseSignatures(text string) (Signatures, error) {
	const group = "TcpExt:"
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != group {
			continue
		}
		if names == nil {
			names = fields
			continue
		}
		if len(fields) != len(names) {
			return Signatures{}, fmt.Errorf("netstat: %d names and %d numbers", len(names), len(fields))
		}
		var s Signatures
		into := map[string]*uint64{"TCPMD5NotFound": &s.Missing, "TCPMD5Failure": &s.Wrong, "TCPMD5Unexpected": &s.Unexpected}
		for i, name := range names {
			if n, ok := into[name]; ok {
				var err error
				if *n, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
					return Signatures{}, fmt.Errorf("netstat: %s: %w", name, err)
				}
			}
		}
		return s, nil
	}
	return Signatures{}, fmt.Errorf("netstat: no line of numbers for %s", group)
}

// ReadSilent returns the IPv4 neighbors that do not answer ARP.
func ReadSilent() (map[netip.Addr]bool, error) {
	text, err := os.ReadFile("/proc/net/arp")
	if err != nil {
		return nil, err
	}
	return ParseSilent(string(text)), nil
}

// complete is the flag of an ARP entry that has a hardware address.
const complete = 0x2

// ParseSilent finds in the text of /proc/net/arp the addresses that were requested on
// some interface, and have a hardware address on none.
func ParseSilent(text string) map[netip.Addr]bool {
	known := map[netip.Addr]bool{}
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		addr, err := netip.ParseAddr(fields[0])
		if err != nil {
			continue // the heading
		}
		flags, err := strconv.ParseUint(fields[2], 0, 32)
		if err != nil {
			continue
		}
		known[addr] = known[addr] || flags&complete != 0
	}
	silent := map[netip.Addr]bool{}
	for addr, is := range known {
		if !is {
			silent[addr] = true
		}
	}
	return silent
}
