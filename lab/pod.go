// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// serviceAccountDir is where a container finds its way to the API server.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Pods are what the manifest makes of Herald. The lab runs containers from them, so
// that nothing it grants differs from what a cluster does.
type Pods struct {
	Controller corev1.PodSpec
	Agent      corev1.PodSpec

	configs map[string]map[string]string // the ConfigMaps' data by their names
}

// ReadPods reads Herald's one-file manifest in a folder.
func ReadPods(dir string) (*Pods, error) {
	name := filepath.Join(dir, "herald.yaml")
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read Herald's manifest: %w", err)
	}
	p := &Pods{configs: make(map[string]map[string]string)}
	for r := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		document, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = p.add(document)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	if len(p.Controller.Containers) == 0 || len(p.Agent.Containers) == 0 {
		return nil, fmt.Errorf("read %s: it has not both a Deployment and a DaemonSet", name)
	}
	return p, nil
}

// add takes note of an object, if it is of a kind that matters here.
func (p *Pods) add(document []byte) error {
	var kind struct{ Kind string }
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "Deployment":
		var d appsv1.Deployment
		err := yaml.UnmarshalStrict(document, &d)
		p.Controller = d.Spec.Template.Spec
		return err
	case "DaemonSet":
		var d appsv1.DaemonSet
		err := yaml.UnmarshalStrict(document, &d)
		p.Agent = d.Spec.Template.Spec
		return err
	case "ConfigMap":
		var c corev1.ConfigMap
		err := yaml.UnmarshalStrict(document, &c)
		p.configs[c.Name] = c.Data
		return err
	}
	return nil
}

// readPods reads the manifest that is beside Herald's binaries.
func readPods() (*Pods, error) {
	bin, err := heraldBin("")
	if err != nil {
		return nil, err
	}
	return ReadPods(filepath.Join(bin, "../deploy"))
}

// tokenVolume returns the name of a pod's volume with the token of its service account;
// empty if each container has one by default.
func tokenVolume(pod *corev1.PodSpec) string {
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken {
		return ""
	}
	for _, v := range pod.Volumes {
		if v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(p corev1.VolumeProjection) bool { return p.ServiceAccountToken != nil }) {
			return v.Name
		}
	}
	return ""
}

// Container returns a container of a pod.
func Container(pod *corev1.PodSpec, name string) (*corev1.Container, error) {
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no container %s", name)
	}
	return &pod.Containers[i], nil
}

// containerPort returns the number of a port that a manifest names.
func containerPort(c *corev1.Container, port intstr.IntOrString) (int, error) {
	for _, p := range c.Ports {
		if p.Name == port.StrVal || int(p.ContainerPort) == port.IntValue() {
			return int(p.ContainerPort), nil
		}
	}
	return 0, fmt.Errorf("container %s has no port %s", c.Name, port.String())
}

// containerURL returns where a container on the host's network is asked how it is: at
// the port of its readiness probe.
func containerURL(pod *corev1.PodSpec, name string, addr netip.Addr) (string, error) {
	c, err := Container(pod, name)
	if err != nil {
		return "", err
	}
	if c.ReadinessProbe == nil || c.ReadinessProbe.HTTPGet == nil {
		return "", fmt.Errorf("container %s has no readiness probe", name)
	}
	port, err := containerPort(c, c.ReadinessProbe.HTTPGet.Port)
	if err != nil {
		return "", err
	}
	return "http://" + netip.AddrPortFrom(addr, uint16(port)).String(), nil
}

// An instance is one pod, as the kubelet of its node knows it.
type instance struct {
	pod    string     // its name
	node   string     // its Node's name
	addr   netip.Addr // of the node, and of the pod, which has the host's network
	groups []int      // instead of the manifest's fsGroup, where the image has other numbers
}

// env returns the environment that a manifest gives a container, in order.
func (in instance) env(c *corev1.Container) ([]string, error) {
	var env []string
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			if e.ValueFrom.FieldRef == nil {
				return nil, fmt.Errorf("container %s: %s is from elsewhere than a field", c.Name, e.Name)
			}
			switch path := e.ValueFrom.FieldRef.FieldPath; path {
			case "metadata.namespace":
				value = HeraldNamespace
			case "metadata.name":
				value = in.pod
			case "spec.nodeName":
				value = in.node
			case "status.hostIP", "status.podIP":
				value = in.addr.String()
			default:
				return nil, fmt.Errorf("container %s: %s is from the unknown field %s", c.Name, e.Name, path)
			}
		}
		env = append(env, e.Name+"="+value)
	}
	return env, nil
}

// args returns the arguments that a manifest gives a container.
func (in instance) args(c *corev1.Container) ([]string, error) {
	env, err := in.env(c)
	if err != nil {
		return nil, err
	}
	var pairs []string
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		pairs = append(pairs, "$("+name+")", value)
	}
	expand := strings.NewReplacer(pairs...)
	var args []string
	for _, a := range c.Args {
		args = append(args, expand.Replace(a))
	}
	return args, nil
}

// container returns how the manifest wants a container run. The volumes are folders
// by their names; the program and its further arguments are the caller's.
func (in instance) container(pod *corev1.PodSpec, name string, volumes map[string]string) (opts containerOptions, err error) {
	c, err := Container(pod, name)
	if err != nil {
		return opts, err
	}
	if opts.Env, err = in.env(c); err != nil {
		return opts, err
	}
	if opts.Args, err = in.args(c); err != nil {
		return opts, err
	}
	for _, m := range c.VolumeMounts {
		from, ok := volumes[m.Name]
		if !ok {
			return opts, fmt.Errorf("container %s: no volume %s", name, m.Name)
		}
		opts.Mounts = append(opts.Mounts, containerMount{From: from, To: m.MountPath, ReadOnly: m.ReadOnly})
	}
	all, sc := cmp.Or(pod.SecurityContext, &corev1.PodSecurityContext{}), cmp.Or(c.SecurityContext, &corev1.SecurityContext{})
	opts.UID, opts.GID = number(sc.RunAsUser, all.RunAsUser), number(sc.RunAsGroup, all.RunAsGroup)
	opts.Groups = in.groups
	if opts.Groups == nil && all.FSGroup != nil {
		opts.Groups = []int{int(*all.FSGroup)}
	}
	opts.ReadOnly = sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem
	opts.NoNewPrivileges = sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation
	opts.Capabilities = runtimeCapabilities
	if add := sc.Capabilities; add != nil {
		if slices.Contains(add.Drop, "ALL") {
			opts.Capabilities = nil
		}
		for _, k := range add.Add {
			opts.Capabilities = append(slices.Clip(opts.Capabilities), string(k))
		}
	}
	return opts, nil
}

// number is the first that is set; 0 is the user of the images that say nothing.
func number(values ...*int64) int {
	for _, v := range values {
		if v != nil {
			return int(*v)
		}
	}
	return 0
}

// projected writes the files of a volume, which the pod's group may read.
func projected(dir string, group int, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o440), os.Chown(path, 0, group)); err != nil {
			return err
		}
	}
	return nil
}

// emptied makes a folder what Kubernetes makes an empty volume: nothing is in it, and
// the pod's group may write to it.
func emptied(dir string, group int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	errs := []error{os.Chown(dir, 0, group), unix.Chmod(dir, unix.S_ISGID|0o775)}
	for _, f := range files {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
	}
	return errors.Join(errs...)
}
