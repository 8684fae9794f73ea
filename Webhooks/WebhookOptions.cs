using System.ComponentModel;
using System.ComponentModel.DataAnnotations;

namespace Dmb.Webhooks;

/// <summary>Settings of webhooks: permitted addresses, retries, and limits of queues.</summary>
internal sealed class WebhookOptions
{
    /// <summary>The value of <see cref="WebhookPrivate"/> that permits all addresses.</summary>
    public const string Allowed = "allow";

    [Description(
        "Whether webhooks may reach this machine and private networks; nothing: only a node on loopback without keys "
            + "and tokens may."
    )]
    [AllowedValues("", Allowed, "deny")]
    public string WebhookPrivate { get; set; } = "";

    [Description("Whether a new webhook has to agree by the Web Hook handshake (OPTIONS).")]
    [AllowedValues("on", "off")]
    public string WebhookHandshake { get; set; } = "on";

    [Description("The name that receivers know this cluster by: the origin in the handshake, and `ce-source`.")]
    public string WebhookOrigin { get; set; } = "dmb";

    [Description("A file with webhooks that are registered at the start, a JSON array (docs/webhooks.md).")]
    public string WebhooksFile { get; set; } = "";

    [Description("How long a webhook may take to answer.")]
    [Range(1, 300)]
    public TimeSpan WebhookTimeout { get; set; } = TimeSpan.FromSeconds(10);

    [Description("For how long after its publish a message is tried again.")]
    [Range(0, 86_400)]
    public TimeSpan WebhookRetry { get; set; } = TimeSpan.FromHours(1);

    [Description("Messages that wait for one webhook; more become dead letters.")]
    [Range(1, 1_000_000)]
    public int WebhookQueue { get; set; } = 10_000;

    [Description("Bytes of the messages that wait for all webhooks on a node; more become dead letters.")]
    [Range(1_024, 1_073_741_824)]
    public int WebhookQueueBytes { get; set; } = 67_108_864;

    [Description("Deliveries under way on a node at a time.")]
    [Range(1, 65_536)]
    public int WebhookConcurrency { get; set; } = 256;

    [Description("Registered webhooks.")]
    [Range(1, 1_000_000)]
    public int MaxWebhooks { get; set; } = 10_000;
}
