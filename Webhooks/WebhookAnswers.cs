using System.Globalization;
using System.Text.Json;
using Dmb.Backends;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>
/// Sends the messages in a backend's response to its webhook, <c>{"messages":[bk_message,…]}</c>, as the backend's.
/// </summary>
internal sealed partial class WebhookAnswers(
    WebhookTable table,
    BackendServices backends,
    RoutingOptions options,
    ILogger<WebhookAnswers> logger
)
{
    /// <summary>
    /// Sends the messages of a response. A repeated uplink does not repeat them, also those without an id.
    /// </summary>
    public async Task SendAsync(WebhookMessage uplink, byte[]? answer)
    {
        if (answer is not { Length: > 0 } || table.Find(uplink.Webhook) is not { Backend: { } bkid })
        {
            return;
        }

        try
        {
            var messages = Read(JsonMembers.Read(answer, options.MaxJsonDepth, ErrorCode.BadJson).Raw("messages"));
            for (var i = 0; i < messages.Count; i++)
            {
                if (messages[i].Length > options.MaxMessageBytes)
                {
                    throw new RefusedException(
                        ErrorCode.TooBig,
                        $"a message is larger than {options.MaxMessageBytes} bytes"
                    );
                }

                var members = JsonMembers.Read(messages[i], options.MaxJsonDepth, ErrorCode.BadJson);
                var message = BackendMessage.Read(members, "to", ErrorCode.BadJson);
                var key = message.Key ?? string.Create(CultureInfo.InvariantCulture, $"{uplink.Id}/{i}");
                await backends.SendAsync(bkid, message with { Key = key });
            }
        }
        catch (RefusedException refused)
        {
            LogRefused(logger, uplink.Webhook, uplink.Id, refused.Message);
        }
    }

    private static List<ReadOnlyMemory<byte>> Read(ReadOnlyMemory<byte> array)
    {
        var messages = new List<ReadOnlyMemory<byte>>();
        if (array.IsEmpty)
        {
            return messages;
        }

        var reader = new Utf8JsonReader(array.Span, new JsonReaderOptions { MaxDepth = 1_002 });
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw new RefusedException(ErrorCode.BadJson, "the member messages is no array");
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var start = (int)reader.TokenStartIndex;
            reader.Skip();
            messages.Add(array[start..(int)reader.BytesConsumed]);
        }

        return messages;
    }

    [LoggerMessage(
        6004,
        LogLevel.Warning,
        "The answer of webhook {Webhook} to uplink {Id} is not sent, or not all of it: {Why}"
    )]
    private static partial void LogRefused(ILogger logger, string webhook, string id, string why);
}
