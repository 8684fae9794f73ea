using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Webhooks;

/// <summary>Registers the webhooks of a file at the start, without a validation handshake.</summary>
internal sealed class WebhookFile(IWebhookStore store, WebhookOptions options, TimeProvider time) : BackgroundService
{
    /// <summary>Describes the form of the file in error texts.</summary>
    public const string Form = "a file with a JSON array of webhooks, each with url, secret, and events or rooms";

    private const int IdLength = 32;
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    /// <summary>Parses the text of a file.</summary>
    /// <exception cref="FormatException">The text is invalid; the message contains no secrets.</exception>
    public static WebhookRequest[] Read(ReadOnlySpan<byte> text)
    {
        try
        {
            var requests = JsonSerializer.Deserialize(text, WebhookJson.Wire.WebhookRequestArray) ?? [];
            foreach (var request in requests)
            {
                request.Check();
                if (request.Secret is null || request.Backend is not null)
                {
                    throw new FormatException($"{request.Url} has no secret, or a backend.");
                }
            }

            return requests;
        }
        catch (JsonException e)
        {
            throw new FormatException($"It is not that in line {e.LineNumber + 1}.", e);
        }
        catch (RefusedException e)
        {
            throw new FormatException(e.Message, e);
        }
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (options.WebhooksFile.Length == 0)
        {
            return;
        }

        foreach (var request in Read(await File.ReadAllBytesAsync(options.WebhooksFile, stoppingToken)))
        {
            while (!await TryPutAsync(request))
            {
                await Task.Delay(RetryInterval, TimeProvider.System, stoppingToken);
            }
        }
    }

    /// <summary>Registers a webhook; false while Redis is down.</summary>
    private async Task<bool> TryPutAsync(WebhookRequest request)
    {
        var (events, rooms) = (request.Events ?? [], request.Rooms ?? []);
        var name = Encoding.UTF8.GetBytes($"{request.Url}\n{string.Join(' ', events)}\n{string.Join(' ', rooms)}");
        var id = Convert.ToHexStringLower(SHA256.HashData(name))[..IdLength];
        var now = time.GetUtcNow();
        try
        {
            var known = await store.FindAsync(id);
            var before = known?.Secrets[0] is { } secret && secret.Text != request.Secret ? secret : null;
            WebhookSecret[] secrets = before is null
                ? known?.Secrets ?? [new WebhookSecret(request.Secret!)]
                : [new WebhookSecret(request.Secret!), before with { Until = now + WebhookRegistration.SecretOverlap }];
            await store.PutAsync(new Webhook(id, request.Url!, events, rooms, null, secrets, known?.Created ?? now));
            return true;
        }
        catch (RefusedException away) when (away.Code == ErrorCode.BackplaneDown)
        {
            return false;
        }
    }
}
