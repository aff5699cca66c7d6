// SPDX-License-Identifier: Apache-2.0

package sysdump

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// component is the label of a pod that says which program of Herald it is.
const component = "app.kubernetes.io/component"

// shortLine is how many bytes a line of a log has at least, with its time.
const shortLine = 32

// chosen returns the pods that are asked, by name: all controllers, and of the agents those
// that are not ready first. The number of the others is returned, too.
func (d *dump) chosen() (pods []*corev1.Pod, left int) {
	var agents []*corev1.Pod
	for i := range d.pods {
		if p := &d.pods[i]; p.Labels[component] == "agent" {
			agents = append(agents, p)
		} else {
			pods = append(pods, p)
		}
	}
	slices.SortStableFunc(agents, func(a, b *corev1.Pod) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.Name, b.Name))
	})
	asked := min(len(agents), d.opts.Agents)
	pods = append(pods, agents[:asked]...)
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, len(agents) - asked
}

// rank is 0 for a pod that is not ready, else 1.
func rank(p *corev1.Pod) int {
	if slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}) {
		return 1
	}
	return 0
}

// A server is a port where a pod serves pages.
type server struct {
	name string
	port int32
}

// defaultMetrics is where Herald's programs serve pages, unless the pod names a port.
var defaultMetrics = server{"metrics", 7472}

// servers returns where a pod serves pages: that of Herald's program first.
func servers(p *corev1.Pod) []server {
	first, others := defaultMetrics, []server(nil)
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			switch {
			case port.Name == defaultMetrics.name:
				first.port = port.ContainerPort
			case strings.HasSuffix(port.Name, "-metrics"):
				others = append(others, server{port.Name, port.ContainerPort})
			}
		}
	}
	return append([]server{first}, others...)
}

// pages returns the parts of a pod that it serves itself.
func (d *dump) pages(p *corev1.Pod) (out []part) {
	folder := "pods/" + fileName(p.Name) + "/"
	add := func(file string, s server, page string, shown func(io.Writer, io.Reader) error) {
		out = append(out, part{name: folder + file, node: p.Spec.NodeName, write: func(ctx context.Context, to *spool) (string, error) {
			answer, err := d.ask(ctx, func(ctx context.Context) (io.ReadCloser, error) {
				return d.opts.Client.Page(ctx, p, s.port, page)
			})
			if err != nil {
				return "", err
			}
			defer answer.Close()
			return "", shown(to, answer)
		}})
	}
	for i, s := range servers(p) {
		if i == 0 {
			add("status.json", s, "status", d.redact.document)
		}
		add(fileName(s.name)+".txt", s, "metrics", func(w io.Writer, r io.Reader) error { return d.redact.lines(w, r, own) })
	}
	return out
}

// logs returns the parts with the logs of a pod's containers.
func (d *dump) logs(p *corev1.Pod) (out []part) {
	states := map[string]corev1.ContainerStatus{}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		states[s.Name] = s
	}
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		name := "logs/" + fileName(p.Name) + "/" + fileName(c.Name)
		s, known := states[c.Name]
		ran := s.RestartCount > 0 || s.LastTerminationState.Terminated != nil
		if known && !ran && s.State.Waiting != nil || p.Spec.NodeName == "" {
			why := "the container has not started"
			if w := s.State.Waiting; w != nil {
				why = strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", why, w.Reason, w.Message), ": ")
			}
			out = append(out, part{name: name + ".log", write: func(context.Context, *spool) (string, error) { return why, nil }})
			continue
		}
		out = append(out, d.log(p, c.Name, name+".log", false))
		if ran {
			out = append(out, d.log(p, c.Name, name+".previous.log", true))
		}
	}
	return out
}

// log returns the part with the log of a container, or of its process before.
func (d *dump) log(p *corev1.Pod, container, name string, previous bool) part {
	query := url.Values{"container": {container}, "timestamps": {"true"}, "tailLines": {strconv.FormatInt(max(d.opts.LogBytes/shortLine, 1), 10)}}
	if previous {
		query.Set("previous", "true")
	}
	if d.opts.Since > 0 {
		query.Set("sinceSeconds", strconv.FormatInt(max(int64(d.opts.Since.Seconds()), 1), 10))
	}
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s/log", p.Namespace, p.Name)
	return part{name: name, node: p.Spec.NodeName, write: func(ctx context.Context, to *spool) (string, error) {
		answer, err := d.get(ctx, path, query)
		if err != nil {
			return "", err
		}
		defer answer.Close()
		last := &lastBytes{to: to, limit: d.opts.LogBytes}
		err = d.redact.lines(last, answer, foreign)
		cut, keepErr := last.end()
		note := ""
		if cut {
			note = fmt.Sprintf("the last %d bytes: --log-bytes", d.opts.LogBytes)
		}
		return note, errors.Join(err, keepErr)
	}}
}

// A lastBytes writes into a spool, and keeps the last bytes alone.
type lastBytes struct {
	to    *spool
	limit int64
	cut   bool
}

// Write implements io.Writer.
func (l *lastBytes) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	if err == nil && l.to.size > 2*l.limit {
		l.cut = true
		err = l.to.keepLast(l.limit)
	}
	return n, err
}

// end drops what is too much, and reports whether anything was dropped.
func (l *lastBytes) end() (cut bool, err error) {
	cut = l.cut || l.to.size > l.limit
	return cut, l.to.keepLast(l.limit)
}

// silent reports whether an error says that a node does not answer, so that other requests to
// it would wait as long.
func silent(err error) bool {
	var timeout net.Error
	return errors.Is(err, errTimeout) || errors.As(err, &timeout) && timeout.Timeout() || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err) ||
		err != nil && (strings.Contains(err.Error(), "i/o timeout") || strings.Contains(err.Error(), "no route to host"))
}
