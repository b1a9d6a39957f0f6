//! The table and the rule of `config/vendors` have the columns of the records; `TRAPLINE_REMAKE=1` writes them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops where something is wrong")]

use std::path::Path;

use serde_json::{Value, json};
use trapline_sink_sentinel::record::COLUMNS;

const TABLE: &str = "Trapline_CL";

/// A template for Azure Resource Manager: the table, and a rule with an endpoint of its own.
fn template() -> Value {
    let columns: Vec<Value> = COLUMNS
        .iter()
        .map(|column| json!({"name": column.name, "type": column.kind}))
        .collect();
    let stream = format!("Custom-{TABLE}");
    let workspace = "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspace'))]";
    let rule = "resourceId('Microsoft.Insights/dataCollectionRules', parameters('rule'))";
    let output = |of: &str| json!({"type": "string", "value": format!("[reference({rule}, '2023-03-11').{of}]")});
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "workspace": {"type": "string", "metadata": {"description": "Name of the Log Analytics workspace, in this resource group."}},
            "rule": {"type": "string", "defaultValue": "trapline", "metadata": {"description": "Name of the data collection rule."}},
            "location": {"type": "string", "defaultValue": "[resourceGroup().location]", "metadata": {"description": "Region of the workspace."}},
        },
        "resources": [
            {
                "type": "Microsoft.OperationalInsights/workspaces/tables",
                "apiVersion": "2022-10-01",
                "name": format!("[concat(parameters('workspace'), '/{TABLE}')]"),
                "properties": {"plan": "Analytics", "schema": {"name": TABLE, "columns": columns}},
            },
            {
                "type": "Microsoft.Insights/dataCollectionRules",
                "apiVersion": "2023-03-11",
                "name": "[parameters('rule')]",
                "location": "[parameters('location')]",
                "kind": "Direct",
                "dependsOn": [
                    format!("[resourceId('Microsoft.OperationalInsights/workspaces/tables', parameters('workspace'), '{TABLE}')]")
                ],
                "properties": {
                    "description": "Events of trapline",
                    "streamDeclarations": {stream.as_str(): {"columns": columns}},
                    "destinations": {"logAnalytics": [{"workspaceResourceId": workspace, "name": "workspace"}]},
                    "dataFlows": [{
                        "streams": [stream], "destinations": ["workspace"], "transformKql": "source", "outputStream": stream,
                    }],
                },
            },
        ],
        "outputs": {"rule": output("immutableId"), "endpoint": output("endpoints.logsIngestion")},
    })
}

#[test]
fn the_table_and_the_rule_have_the_columns_of_the_records() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/vendors/sentinel-dcr.json");
    let made = format!("{}\n", serde_json::to_string_pretty(&template()).unwrap());
    if std::env::var_os("TRAPLINE_REMAKE").is_some() {
        std::fs::write(&file, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(
        kept, made,
        "TRAPLINE_REMAKE=1 cargo test -p trapline-sink-sentinel makes it anew"
    );
}

#[test]
fn the_sink_writes_to_the_stream_that_the_rule_declares() {
    let stream = trapline_sink_sentinel::SINK
        .keys
        .iter()
        .find(|key| key.name == "stream")
        .unwrap();
    assert_eq!(stream.default, Some(format!("\"Custom-{TABLE}\"").as_str()));
}
