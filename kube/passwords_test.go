// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/kube"
)

// secret writes a Secret with a password.
func (a *api) secret(name, password string) {
	a.set("secrets", name, "", 1, `"type":"kubernetes.io/basic-auth"`, fmt.Sprintf(`"stringData":{"x":"y"},"data":{"password":%q}`, password))
}

// peerOf writes a peer whose password is in a Secret.
func (a *api) peerOf(name, secret string, generation int, more ...string) {
	a.set("bgppeers", name, fmt.Sprintf(`{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.%d","passwordSecret":{"name":%q}}`, len(name), secret), generation, more...)
}

// passwords waits until the document has Secrets, "name=password" or "name: why it was
// not read", in order.
func passwords(t *testing.T, r *kube.Resources, want string) {
	t.Helper()
	got := ""
	eventually(t, want, func() bool {
		doc, read := r.Document()
		if !read {
			return false
		}
		var all []string
		for _, s := range doc.Resources.Secrets {
			text := s.Name + "=" + s.Password.Reveal()
			if s.Unread != "" {
				text = s.Name + ": " + s.Unread
			}
			all = append(all, text)
		}
		got = strings.Join(all, " ")
		return strings.HasPrefix(got, want) && (want != "" || got == "")
	})
}

// Secrets that no peer refers to are never asked for. One that changes is noticed, and
// one that is not referred to any more is not followed.
func TestPasswords(t *testing.T) {
	t.Parallel()
	a, c := newAPI(t, allPlurals...)
	a.secret("canary", "Y2FuYXJ5")
	a.secret("one", "b25l")
	a.secret("two", "dHdv")
	a.peerOf("tor", "one", 1)
	var wakes atomic.Int64
	r := newResources(t, c, func() { wakes.Add(1) })
	passwords(t, r, "one=one")
	a.secret("one", "b25lIG1vcmU=")
	passwords(t, r, "one=one more")

	// A second version is refused: the first stays in force, and its Secret is read on.
	const first = `{"spec":{"myASN":1,"peerASN":2,"peerAddress":"10.0.0.1","passwordSecret":{"name":"one"}}}`
	a.peerOf("tor", "two", 2, fmt.Sprintf(`"status":{"inForce":%q}`, first))
	passwords(t, r, "one=one more two=two")
	a.peerOf("tor", "two", 2)
	passwords(t, r, "two=two")
	eventually(t, "nothing follows the first", func() bool {
		before := wakes.Load()
		a.secret("one", fmt.Sprintf("b25l%04d", before%10000))
		time.Sleep(10 * time.Millisecond)
		return wakes.Load() == before
	})
	a.delete("secrets", "two")
	passwords(t, r, "")
	a.delete("bgppeers", "tor")
	eventually(t, "no peer is left", func() bool { doc, _ := r.Document(); return len(doc.Resources.Objects) == 0 })

	a.mu.Lock()
	defer a.mu.Unlock()
	for _, selector := range a.secrets {
		if selector != "metadata.name=one" && selector != "metadata.name=two" {
			t.Errorf("Secrets are read with the field selector %q", selector)
		}
	}
}

// A Secret that cannot be read holds up no other object for long, and the peer that
// refers to it says why.
func TestPasswordsUnread(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{
		http.StatusForbidden:           "Herald has no right to; add its name to the Roles",
		http.StatusInternalServerError: "the API server does not return it",
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			a, c := newAPI(t, allPlurals...)
			a.secret("one", "b25l")
			a.secret("two", "dHdv")
			a.unread = map[string]int{"two": code}
			a.peerOf("tor", "one", 1)
			r := newResources(t, c, func() {})
			r.SetPatience(time.Second)
			passwords(t, r, "one=one")
			before, _ := r.Document()
			a.peerOf("spine", "two", 1)
			// Until it is known that it cannot be read, what was read stays.
			eventually(t, "the new peer", func() bool {
				doc, read := r.Document()
				if !read {
					t.Error("what was read before is not known any more")
				}
				return doc.Resources != before.Resources
			})
			passwords(t, r, "one=one two: "+want)
			doc, _ := r.Document()
			resolved := config.Resolved{}.Next(*doc.Resources)
			if len(resolved.Config.Peers) != 1 || resolved.Config.Peers[0].Name != "tor" {
				t.Errorf("peers in force are %+v", resolved.Config.Peers)
			}
			if err := resolved.Err(); err == nil || !strings.Contains(err.Error(), `BGPPeer/spine: MissingReference: spec.passwordSecret: the secret "ns"/"two" was not read: `+want) {
				t.Errorf("the verdict is %v", err)
			}
			a.mu.Lock()
			a.unread = nil
			a.mu.Unlock()
			passwords(t, r, "one=one two=two")
		})
	}
}
