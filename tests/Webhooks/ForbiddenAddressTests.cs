using System.Net;
using System.Text.Json;
using Dmb.Webhooks;
using Microsoft.Extensions.DependencyInjection;

namespace Dmb.Tests.Webhooks;

/// <summary>A node with keys, whose webhooks may not reach this machine.</summary>
public sealed class ForbiddenAddressTests
{
    private const string Secret = "a-secret-of-an-operator";

    [Theory]
    [InlineData("http://127.0.0.1:1/")]
    [InlineData("http://localhost:1/")]
    [InlineData("http://[::1]:1/")]
    [InlineData("http://[::ffff:127.0.0.1]:1/")]
    [InlineData("http://2130706433:1/")]
    [InlineData("http://0x7f.1:1/")]
    [InlineData("http://169.254.169.254/latest/meta-data/")]
    public async Task A_URL_of_this_machine_is_refused(string url)
    {
        await using var node = await StartAsync("on");
        using var http = HttpOf(node);
        var (status, body) = await TestHook.AskAsync(http, $$"""{"url":"{{url}}","events":["call"]}""");
        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.Equal("bad_webhook", JsonElement.Parse(body).GetProperty("code").GetString());
        Assert.Contains("DMB_WEBHOOK_PRIVATE", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_name_that_leads_to_this_machine_only_later_is_refused_then()
    {
        await using var receiver = await Receiver.StartAsync();
        await using var node = await StartAsync("off");
        using var http = HttpOf(node);
        var refused = new TaskCompletionSource();
        var asked = 0;
        node.Services.GetRequiredService<WebhookClient>().Resolve = (_, _) =>
        {
            IPAddress[] addresses = [++asked == 1 ? IPAddress.Parse("1.1.1.1") : IPAddress.Loopback];
            return Task.FromResult(addresses);
        };
        await TestHook.RegisterAsync(
            http,
            new Uri($"http://rebind.example:{receiver.Url.Port}/"),
            "\"events\":[\"call\"]"
        );
        using var push = await http.PostAsync(new Uri("/_notify/call", UriKind.Relative), new StringContent("1"));
        push.EnsureSuccessStatusCode();
        while (!node.Warnings.Any(line => line.Contains("forbidden_address", StringComparison.Ordinal)))
        {
            await Task.Yield();
        }

        Assert.Equal(2, asked);
    }

    private static Task<Node> StartAsync(string handshake) =>
        Node.StartAsync(("Keys", $"ops:{Secret}:admin"), ("WebhookHandshake", handshake));

    private static HttpClient HttpOf(Node node)
    {
        var http = new HttpClient { BaseAddress = node.Url, Timeout = Node.Patience };
        http.DefaultRequestHeaders.Add("X-Api-Key", Secret);
        return http;
    }
}
