{{/*
The alerts. Aggregations are by cluster and namespace, so that a Prometheus that has several
clusters, told apart by the label cluster, does not mix them.
*/}}
{{- define "herald.alerts" -}}
{{- $r := .Values.prometheus.prometheusRule }}
{{- $frr := (include "herald.agent" . | fromYaml).frr }}

{{- include "herald.alert" (dict "root" $r "of" $r.staleConfig "alert" "MetalLBStaleConfig" "for" "1m"
  "expr" "metallb_k8s_client_config_stale_bool == 1"
  "summary" "WHERE: the newest configuration was refused."
  "description" "The newest configuration, or a part of it, was refused, and an older version is in force. Run heraldctl status: it names the object, the field and the cure.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.configNotLoaded "alert" "MetalLBConfigNotLoaded" "for" "1m"
  "expr" "metallb_k8s_client_config_loaded_bool == 0\nand on (cluster, namespace) (\n  max by (cluster, namespace) (metallb_k8s_client_config_loaded_bool) == 1\n  or sum by (cluster, namespace) (herald_services_unassigned) > 0\n)"
  "summary" "WHERE: there is no configuration."
  "description" "The process has accepted no configuration, while another one has, or while Services wait for an address. Run heraldctl status. If there is no pool yet, make one.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.addressPoolExhausted "alert" "MetalLBAddressPoolExhausted" "for" "1m"
  "expr" (printf "metallb_allocator_addresses_in_use_total{pool!~%q} >= metallb_allocator_addresses_total and metallb_allocator_addresses_total > 0" ($r.addressPoolExhausted.excludePools | default ""))
  "summary" "Every address of pool {{ $labels.pool }} is in use."
  "description" "All {{ $value }} addresses of pool {{ $labels.pool }} are in use. The next Service that needs one stays without. Add addresses to the pool, or delete Services: kubectl get ipaddresspools.metallb.io -A, heraldctl why pool/{{ $labels.pool }}.") }}

{{- if $r.addressPoolUsage.enabled }}
{{- range $r.addressPoolUsage.thresholds }}
{{- include "herald.alert" (dict "root" $r "of" (dict "enabled" true "labels" .labels) "alert" (printf "MetalLBAddressPoolUsage%vPercent" .percent) "for" "1m" "runbook" "metallbaddresspoolusage"
  "expr" (printf "100 * metallb_allocator_addresses_in_use_total{pool!~%q} / metallb_allocator_addresses_total > %v" ($r.addressPoolUsage.excludePools | default "") .percent)
  "summary" (printf "More than %v %% of the addresses of pool {{ $labels.pool }} are in use." .percent)
  "description" "{{ printf \"%.0f\" $value }} % of the addresses of pool {{ $labels.pool }} are in use. Add addresses before Services have to wait.") }}
{{- end }}
{{- end }}

{{- include "herald.alert" (dict "root" $r "of" $r.servicesUnassigned "alert" "HeraldServicesUnassigned" "for" "5m"
  "expr" "sum by (cluster, namespace, reason) (herald_services_unassigned{reason!=\"Foreign\"}) > 0"
  "summary" "{{ $value }} Services have no address: {{ $labels.reason }}."
  "description" "{{ $value }} Services of type LoadBalancer have lacked the addresses that they ask for, for 5 minutes, with the reason {{ $labels.reason }}. heraldctl status names them; heraldctl why NAMESPACE/SERVICE says what to change.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.servicesUnannounced "alert" "HeraldServicesUnannounced" "for" "5m"
  "expr" (printf "sum by (cluster, namespace, reason) (herald_services_unannounced{reason!~%q}) > 0" ($r.servicesUnannounced.excludeReasons | default ""))
  "summary" "{{ $value }} Services have an address that no node announces: {{ $labels.reason }}."
  "description" "Nobody outside of the cluster reaches {{ $value }} Services, though they have an address, with the reason {{ $labels.reason }}. heraldctl status names them; heraldctl why NAMESPACE/SERVICE names the first broken link of the way to the router.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.bgpSessionDown "alert" "MetalLBBGPSessionDown" "for" "1m"
  "expr" "(metallb_bgp_session_up == 0)\n* on (cluster, namespace, pod, peer, vrf) group_left (name) topk by (cluster, namespace, pod, peer, vrf) (1, herald_bgp_peer_info)\nor on (cluster, namespace, pod, instance, peer, vrf)\nmetallb_bgp_session_up == 0"
  "summary" "WHERE: the BGP session with {{ or $labels.name \"a peer\" }} ({{ $labels.peer }}) is down."
  "description" "The BGP session of WHERE with the peer {{ $labels.name }} at {{ $labels.peer }} (VRF {{ $labels.vrf }}) is down: the router gets no routes from this node. Run heraldctl sessions, or heraldctl why peer/{{ or $labels.name \"PEER\" }}: they say why.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.bgpSessionFlapping "alert" "HeraldBGPSessionFlapping" "for" "1m"
  "expr" "(changes(metallb_bgp_session_up[10m]) > 4)\n* on (cluster, namespace, pod, peer, vrf) group_left (name) topk by (cluster, namespace, pod, peer, vrf) (1, herald_bgp_peer_info)\nor on (cluster, namespace, pod, instance, peer, vrf)\nchanges(metallb_bgp_session_up[10m]) > 4"
  "summary" "WHERE: the BGP session with {{ or $labels.name \"a peer\" }} ({{ $labels.peer }}) flaps."
  "description" "The BGP session of WHERE with the peer {{ $labels.name }} at {{ $labels.peer }} has gone up and down {{ $value }} times in 10 minutes. The events of the Node say why it ended each time: kubectl describe node.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.bfdSessionDown "alert" "HeraldBFDSessionDown" "for" "2m"
  "expr" "metallb_bfd_session_up == 0"
  "summary" "WHERE: the BFD session with {{ $labels.peer }} is down."
  "description" "The BFD session of WHERE with {{ $labels.peer }} (VRF {{ $labels.vrf }}) is down. If BGP is up all the same, a failure is noticed only when the hold time ends. Does the router have BFD for this neighbor, with the same kind of hops and intervals?") }}

{{- include "herald.alert" (dict "root" $r "of" $r.addressConflict "alert" "HeraldAddressConflict" "for" "1m"
  "expr" "herald_layer2_conflict == 1"
  "summary" "WHERE: another host has {{ $labels.ip }}."
  "description" "A host that is no node of the cluster answers for {{ $labels.ip }}, an address of a Service, as WHERE hears. Traffic may go there. heraldctl why {{ $labels.ip }} shows its hardware address. Switch the host off, or take the address out of the pool.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.addressClash "alert" "HeraldAddressClash" "for" "5m"
  "expr" "sum by (cluster, namespace) (herald_address_clashes) > 0"
  "summary" "Another load balancer has given out {{ $value }} addresses of Services."
  "description" "{{ $value }} addresses of Services are in the status of Services that belong to another load balancer in this cluster. Two of them share a pool. heraldctl status names the addresses.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.gossipStale "alert" "HeraldGossipStale" "for" "2m"
  "expr" "herald_members_stale == 1"
  "summary" "WHERE: the agent does not know which other agents are alive."
  "description" "The agent of WHERE has not heard from any other agent, and announces nothing on layer 2 meanwhile. Are TCP and UDP port 7946 open between the nodes? Is the key in the Secret memberlist the same for all?") }}

{{- include "herald.alert" (dict "root" $r "of" $r.membersDisagree "alert" "HeraldMembersDisagree" "for" "5m"
  "expr" "(herald_members > 0)\n< on (cluster, namespace) group_left () count by (cluster, namespace) (count by (cluster, namespace, pod) (herald_members > 0))"
  "summary" "WHERE: the agent knows only {{ $value }} of the agents."
  "description" "Gossip of WHERE reaches {{ $value }} agents, itself included, and Prometheus reaches more. On layer 2 both sides of a split may answer for the same address. Is port 7946, TCP and UDP, open between all nodes?") }}

{{- if $frr.enabled }}
{{- include "herald.alert" (dict "root" $r "of" $r.frrNotApplied "alert" "HeraldFRRNotApplied" "for" "5m"
  "expr" "herald_frr_applied == 0"
  "summary" "WHERE: FRR does not run the configuration that it is to run."
  "description" "FRR of WHERE has not accepted the newest configuration for 5 minutes: new Services are not announced from there. frr.error in the agent's /status, and its log, say what FRR refuses.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.rawConfigRefused "alert" "HeraldRawConfigRefused" "for" "5m"
  "expr" "herald_frr_extras_applied == 0"
  "summary" "WHERE: FRR refuses the raw configuration."
  "description" "FRR of WHERE does not run the raw configuration of the ConfigMap bgpextras. The ConfigMap has an event with the line and FRR's words: kubectl describe configmap bgpextras.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.frrWithdrawn "alert" "HeraldFRRWithdrawn" "for" "1m"
  "expr" "herald_frr_withdrawn == 1"
  "summary" "WHERE: FRR has withdrawn every route, because the node's agent is not alive."
  "description" "The agent of WHERE was not there for longer than --agent-timeout, and FRR has withdrawn every route. Look at the agent's container: kubectl logs, kubectl describe pod.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.frrDown "alert" "HeraldFRRDown" "for" "1m"
  "expr" "herald_frr_process_up == 0"
  "summary" "WHERE: FRR's {{ $labels.daemon }} does not run or does not answer."
  "description" "FRR's {{ $labels.daemon }} of WHERE does not run or does not answer, and starting it again did not help. The log of the container frr says why.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.frrRestarts "alert" "HeraldFRRRestarts" "for" "1m"
  "expr" "increase(herald_frr_process_restarts_total[15m]) > 2"
  "summary" "WHERE: FRR's {{ $labels.daemon }} is started again and again."
  "description" "FRR's {{ $labels.daemon }} of WHERE was started again {{ printf \"%.0f\" $value }} times in 15 minutes, as it ended or hung. The log of the container frr has its last words. Does the container have enough memory?") }}
{{- end }}

{{- include "herald.alert" (dict "root" $r "of" $r.agentAbsent "alert" "HeraldAgentAbsent" "for" "5m"
  "expr" "absent(herald_members)"
  "summary" "No agent answers on any node."
  "description" "Prometheus reads no metrics of any agent. If the agents do not run, nothing new is announced, and after --agent-timeout every route is withdrawn: kubectl -n metallb-system get pods. If they run, look at the targets of Prometheus.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.agentDown "alert" "HeraldAgentDown" "for" "10m"
  "expr" (printf "up{namespace=%q, container=\"agent\"} == 0" .Release.Namespace)
  "summary" "WHERE: the agent does not answer."
  "description" "The agent of WHERE has not answered Prometheus for 10 minutes. Changes are not announced from this node, and on layer 2 other nodes have taken over its addresses. Is the node up? Otherwise: kubectl -n metallb-system describe pod, kubectl logs.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.controllerAbsent "alert" "HeraldControllerAbsent" "for" "5m"
  "expr" "absent(herald_leading)"
  "summary" "No controller answers."
  "description" "Prometheus reads no metrics of any controller. Without one, new Services get no address; what is announced stays announced. kubectl -n metallb-system get pods; if they run, look at the targets of Prometheus.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.noLeader "alert" "HeraldNoLeader" "for" "2m"
  "expr" "max by (cluster, namespace) (herald_leading) == 0"
  "summary" "No controller leads."
  "description" "Controllers run, and none holds the Lease herald-controller: new Services get no address. Can they write the Lease? kubectl -n metallb-system get lease herald-controller, and the controllers' logs.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.severalLeaders "alert" "HeraldSeveralLeaders" "for" "2m"
  "expr" "sum by (cluster, namespace) (herald_leading) > 1"
  "summary" "{{ $value }} controllers lead."
  "description" "{{ $value }} controllers hold themselves to be the leader. Are there two installations in the namespace, or is each scraped twice? kubectl -n metallb-system get lease herald-controller -o yaml names the one that leads.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.nodeSilent "alert" "HeraldNodeSilent" "for" "15m"
  "expr" "sum without (protocol, reason) (herald_decisions{reason=~\"NodeNetworkDown|DataPlaneNotReady|ProbeFailed|MembersUnknown|NodeDamped\"}) > 0\nunless sum without (protocol, reason) (herald_decisions{reason=\"Announced\"}) > 0\nand on (cluster, namespace) sum by (cluster, namespace) (herald_decisions{reason=\"Announced\"}) > 0"
  "summary" "WHERE announces nothing, while other nodes do."
  "description" "WHERE is to announce {{ $value }} addresses and announces none, while other nodes announce Services: something is wrong with this node. heraldctl why node/{{ or $labels.node \"NODE\" }} says what.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.probesFailing "alert" "HeraldProbesFailing" "for" "5m"
  "expr" "herald_probes{state=\"failing\"} > 0"
  "summary" "WHERE: probes of {{ $value }} addresses fail."
  "description" "WHERE gets no answer from {{ $value }} addresses that an advertisement probes, and leaves them to other nodes. The event ProbeFailed of the Service says what failed; heraldctl why NAMESPACE/SERVICE shows every node.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.quotaNearlyFull "alert" "HeraldQuotaNearlyFull" "for" "5m"
  "expr" "herald_pool_quota_in_use / on (cluster, namespace, pod, instance, pool, exported_namespace) group_left () (herald_pool_quota_limit >= 10) > 0.9"
  "summary" "Namespace {{ or $labels.exported_namespace $labels.namespace }} has used {{ $value | humanizePercentage }} of its quota in pool {{ $labels.pool }}."
  "description" "The Services of namespace {{ or $labels.exported_namespace $labels.namespace }} have {{ $value | humanizePercentage }} of the {{ $labels.family }} addresses that its quota in pool {{ $labels.pool }} allows. The next ones stay without an address. Raise the quota, or delete Services.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.apiErrors "alert" "HeraldAPIErrors" "for" "15m"
  "expr" "increase(metallb_k8s_client_update_errors_total[15m]) > 10"
  "summary" "WHERE: writes to the API server fail."
  "description" "{{ printf \"%.0f\" $value }} writes, passes or configurations of WHERE have failed within 15 minutes. Its log says which, and what the API server answers: a missing permission, an admission webhook, or the API server itself.") }}

{{- include "herald.alert" (dict "root" $r "of" $r.statusContested "alert" "HeraldStatusContested" "for" "15m"
  "expr" "sum by (cluster, namespace, kind) (herald_status_contests) > 0"
  "summary" "Another writer keeps changing the status of {{ $value }} objects of kind {{ $labels.kind }}."
  "description" "Herald and another program undo each other's changes to the status of {{ $value }} objects of kind {{ $labels.kind }}. The event StatusContested of the object names the other one's field manager. Is a second load balancer installed?") }}
{{- end -}}

{{/*
The names that MetalLB 0.16 has for sessions with its default back end, frr-k8s. Its label
peer has no port and no brackets.
*/}}
{{- define "herald.frrk8s" -}}
{{- range list "session_up" "announced_prefixes_total" "received_prefixes_total" "opens_sent" "opens_received" "notifications_sent" "updates_total" "updates_total_received" "keepalives_sent" "keepalives_received" "route_refresh_sent" "total_sent" "total_received" }}
- record: frrk8s_bgp_{{ . }}
  expr: label_replace(metallb_bgp_{{ . }}, "peer", "$1", "peer", "\\[?([^]]*?)\\]?:[0-9]+")
{{- end }}
{{- range list "session_up" "control_packet_input" "control_packet_output" "echo_packet_input" "echo_packet_output" "session_up_events" "session_down_events" "zebra_notifications" }}
- record: frrk8s_bfd_{{ . }}
  expr: metallb_bfd_{{ . }}
{{- end }}
{{- range list "updates_total" "update_errors_total" "config_loaded_bool" "config_stale_bool" }}
- record: frrk8s_k8s_client_{{ . }}
  expr: metallb_k8s_client_{{ . }} unless on (cluster, instance) herald_leading
{{- end }}
{{- end -}}
