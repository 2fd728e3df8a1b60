# SPDX-License-Identifier: Apache-2.0
# From the list of OAP's templates, the page of the layer BANYANDB with our widgets on it, as the body of a PUT.
# Widgets that are there from last time are replaced; README.md says how to call it.
def with($page): map(select(.id | startswith("kernel_") | not)) + $widgets[0][$page];
first(
  .[] | .id as $id | .configuration | fromjson? | select(.name == "horizon.layer.BANYANDB")
  | .content.dashboards.service |= with("service")
  | .content.dashboards.instance |= with("instance")
  | {id: $id, configuration: tojson}
)
