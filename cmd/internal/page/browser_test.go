// SPDX-License-Identifier: Apache-2.0

package page_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/heraldlb/herald/cluster"
	"github.com/heraldlb/herald/config"
	"github.com/heraldlb/herald/status"
	"github.com/heraldlb/herald/topology"
)

func TestBrowserSizes(t *testing.T) {
	browser := chromium(t)
	for _, services := range []int{0, 1, 200, 5000} {
		t.Run(fmt.Sprint(services), func(t *testing.T) {
			_, server := newFixture(t, services)
			b := open(t, browser, server.URL)
			b.says("live, as of", "tor-a", "n3")
			b.picture(fmt.Sprintf("topology-%d", services))
			switch services {
			case 0:
				b.says("No Service of type LoadBalancer exists.")
			case 1:
				b.says("shop/web", "203.0.113.0")
			default: // collapsed
				if n := b.eval(`document.querySelectorAll('.box.group').length`).(float64); n < 4 || n > 8 {
					t.Errorf("%v groups of Services", n)
				}
			}
			for _, view := range []string{"problems", "services", "nodes", "node/n1", "peers", "peer/tor-a", "pools", "pool/web", "changes"} {
				b.visit(view)
				b.wait(`document.querySelector('main h1') !== null`)
				if view == "services" && services == 5000 {
					if rows := b.eval(`document.querySelectorAll('main tbody tr').length`).(float64); rows != 201 {
						t.Errorf("%v rows at first", rows)
					}
				}
				b.picture(fmt.Sprintf("%s-%d", strings.ReplaceAll(view, "/", "-"), services))
			}
			if services > 0 {
				b.visit("service/shop%2Fweb")
				b.says("Every link works", "What each node decides", "n1, n2, n3")
				b.picture(fmt.Sprintf("service-%d", services))
			}
		})
	}
}

func TestBrowserFaults(t *testing.T) {
	browser := chromium(t)
	f, server := newFixture(t, 40)
	b := open(t, browser, server.URL)
	b.says("live, as of", "None was found")

	f.change(func(in *topology.Input) {
		peerDown(in, 1, "tor-b", status.SessionHoldTimer, "10.10.0.254 sent nothing for 9 s: the hold timer expired")
	})
	b.says("tor-b on n2")
	b.wait(`document.querySelectorAll('.edge.refused').length > 0 && document.querySelectorAll('.cross').length > 0`)

	f.change(func(in *topology.Input) {
		silence(in, 2, "CrashLoopBackOff of container agent")
		delete(in.Cluster.Endpoints, cluster.Key{Namespace: "shop", Name: "cart"})
		withdraw(in, func(a topology.Announcement) bool { return a.Service.Name == "cart" })
	})
	b.says("agent does not run", "NoEndpoints")
	b.picture("faults")
	b.dark()
	b.picture("faults-dark")

	// One path alone, by the keyboard.
	b.eval(`document.querySelector('[data-box="service/shop/cart"]').focus(); 0`)
	b.run(chromedp.KeyEvent("\r"))
	b.wait(`document.querySelector('.picture.lit') !== null && document.activeElement.dataset.box === 'service/shop/cart'`)
	b.says("Why it works or not, link by link")
	if on := b.eval(`[...document.querySelectorAll('.box.service.on')].length`).(float64); on != 1 {
		t.Errorf("%v Services are on the path", on)
	}
	b.picture("isolated")
	b.run(chromedp.KeyEvent("\x1b"))
	b.wait(`document.querySelector('.picture.lit') === null`)

	b.visit("service/shop%2Fcart")
	b.says("First broken link: endpoints", "kubectl -n shop get pods -o wide -l app=cart")
	b.picture("service-broken")
	if anchor := b.eval(`document.querySelector('.problem .docs').href`).(string); !strings.HasSuffix(anchor, "#NoEndpoints") {
		t.Errorf("the problem leads to %s", anchor)
	}
	b.visit("peers")
	b.says("n2", "down", "3 d")
	b.eval(`document.querySelector('[data-key="cell:n2 tor-b"]').click(); 0`)
	b.says("the hold timer expired")
	b.picture("peers-down")
	b.visit("changes")
	b.says("tor-b", "Failovers", "Nothing has failed and recovered")
	f.change(func(in *topology.Input) {
		states := slices.Clone(in.States)
		states[1].Sessions = []cluster.SessionState{{Peer: "tor-a", Up: true, Since: time.Now()}, {Peer: "tor-b", Up: true, Since: time.Now()}}
		in.States = states
	})
	b.says("down → up after 3 d", "the longest took 3 d")
	b.picture("changes")
}

// The picture of docs/page.md.
func TestBrowserPicture(t *testing.T) {
	browser := chromium(t)
	f, server := newFixture(t, 11)
	f.change(func(in *topology.Input) {
		peerDown(in, 1, "tor-b", status.SessionHoldTimer, "10.10.0.254 sent nothing for 9 s: the hold timer expired")
		web := cluster.Key{Namespace: "shop", Name: "cart"}
		delete(in.Cluster.Endpoints, web)
		withdraw(in, func(a topology.Announcement) bool { return a.Service == web })
	})
	b := open(t, browser, server.URL)
	b.run(chromedp.EmulateViewport(1400, 800))
	b.says("live, as of", "NoEndpoints")
	b.wait(`document.querySelectorAll('.cross').length > 1`)
	b.picture("docs")
}

// The pool is switched while the page is open.
func TestBrowserPoolSwitch(t *testing.T) {
	browser := chromium(t)
	f, server := newFixture(t, 30)
	b := open(t, browser, server.URL+"/#/pool/web")
	b.says("203.0.113.0/24", "reserved for")
	b.picture("pool-before")
	f.change(func(in *topology.Input) {
		in.Resources = append([]config.Object(nil), in.Resources...)
		in.Resources[0] = object("IPAddressPool", "web", `{"addresses": ["198.51.100.0/24"]}`)
		in.Resources[0].Generation = 2
		services := append([]*cluster.Service(nil), in.Cluster.Services...)
		for i, svc := range services {
			if strings.HasPrefix(svc.Ingress[0], "203.0.113.") {
				next := *svc
				next.Ingress = []string{strings.Replace(svc.Ingress[0], "203.0.113.", "198.51.100.", 1)}
				services[i] = &next
			}
		}
		in.Cluster.Services = services
	})
	b.says("198.51.100.0/24")
	b.wait(`document.querySelectorAll('.spot.used').length > 20`)
	b.picture("pool-after")
	b.visit("changes")
	b.says("198.51.100.0/24", "and 26 others")
	b.picture("pool-changes")
}

// Names and texts are of users, routers and agents: none becomes HTML, or turns what is
// around it.
func TestBrowserHostile(t *testing.T) {
	browser := chromium(t)
	f, server := newFixture(t, 3)
	hostile := []string{`<img src=x onerror=document.title='owned'>`, "\u202egnp.evil", `"'><script>document.title='owned'</script>`, strings.Repeat("W", 3000), "javascript:alert(1)", "a/b c%2F#d?e&f", `${7*7}`}
	f.change(func(in *topology.Input) {
		for i, text := range hostile {
			in.States[i%3].Errors = append(in.States[i%3].Errors, text)
			in.Unasked = append(in.Unasked, topology.Unasked{What: text, Error: text})
		}
		peerDown(in, 0, "tor-a", status.SessionFailed, hostile[0]+hostile[1])
		svc := *in.Cluster.Services[0]
		svc.Namespace, svc.Name = hostile[0], hostile[2]
		svc.Ingress = nil
		svc.Unknown = hostile[1] + hostile[3]
		in.Cluster.Services = append([]*cluster.Service{&svc}, in.Cluster.Services...)
		for i, text := range hostile {
			in.Cluster.Nodes = append(in.Cluster.Nodes, &cluster.Node{Name: fmt.Sprintf("%s%d", text, i)})
		}
		slices.SortFunc(in.Cluster.Nodes, func(a, b *cluster.Node) int { return strings.Compare(a.Name, b.Name) })
	})
	b := open(t, browser, server.URL)
	b.says("live, as of", `<img src=x onerror`)
	b.picture("hostile")
	for _, view := range []string{"problems", "services", "nodes", "peers", "peer/tor-a", "pools", "changes", "node/" + jsEscape(hostile[0]+"0"), "service/" + jsEscape(hostile[0]+"/"+hostile[2]), "%%%", "constructor", "__proto__/x"} {
		b.visit(view)
		b.wait(`document.querySelector('main').innerText.length > 10`)
		b.wait(`!document.querySelector('main').innerText.includes('Asking why')`)
		if n := b.eval(`document.querySelectorAll('main img, main script, main iframe, a[href^="javascript"]').length`).(float64); n != 0 {
			t.Errorf("%s: %v elements of somebody else", view, n)
		}
		if wide := b.eval(`document.documentElement.scrollWidth > innerWidth`).(bool); wide {
			t.Errorf("%s: wider than the window", view)
		}
		if text := b.text(); strings.Contains(text, "cannot be drawn") {
			t.Errorf("%s: %s", view, text)
		}
	}
	b.picture("hostile-service")
	if title := b.eval(`document.title`).(string); strings.Contains(title, "owned") {
		t.Error("a name was carried out")
	}
	// A name that turns the direction does so for itself alone.
	b.visit("problems")
	if bare := b.eval(`(() => { const walk = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT); let n = 0; while (walk.nextNode()) if (walk.currentNode.data.includes('\u202e') && !walk.currentNode.parentElement.closest('bdi')) n++; return n; })()`).(float64); bare != 0 {
		t.Errorf("%v texts may turn what is around them", bare)
	}
}

// The controller goes, and comes back.
func TestBrowserReconnects(t *testing.T) {
	browser := chromium(t)
	f, server := newFixture(t, 3)
	b := open(t, browser, server.URL)
	b.says("live, as of")
	f.mu.Lock()
	f.unread = true // as after a restart
	f.mu.Unlock()
	server.CloseClientConnections()
	b.says("Not connected for", "has not read everything yet", "shop/api")
	b.picture("disconnected")
	f.change(func(in *topology.Input) {
		f.unread = false
		addService(in, 3, false, time.Now())
	})
	b.says("live, as of", "shop/search")
	b.pardon() // requests failed
}

func TestBrowserPrintAndSmall(t *testing.T) {
	browser := chromium(t)
	_, server := newFixture(t, 12)
	b := open(t, browser, server.URL)
	b.says("live, as of")
	b.run(chromedp.EmulateViewport(420, 800))
	for _, view := range []string{"", "services", "peers", "pool/web", "service/shop%2Fweb"} {
		b.visit(view)
		b.wait(`document.querySelector('main section') !== null`)
		if view != "" && b.eval(`document.documentElement.scrollWidth > innerWidth`).(bool) {
			t.Errorf("%q: wider than the window", view)
		}
		b.picture("small-" + strings.NewReplacer("/", "-", "%2F", "-").Replace(view))
	}
	b.run(chromedp.EmulateViewport(1000, 1400), media(emulation.SetEmulatedMediaParams{Media: "print"}))
	b.visit("services")
	b.wait(`document.querySelector('main h1').innerText === 'Services' && getComputedStyle(document.querySelector('.tabs')).display === 'none'`)
	b.picture("print")
}

// jsEscape escapes a text as encodeURIComponent does what matters here.
func jsEscape(text string) string {
	return strings.NewReplacer("%", "%25", "/", "%2F", "#", "%23", "?", "%3F").Replace(text)
}
