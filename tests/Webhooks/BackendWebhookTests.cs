using System.Net;
using System.Text.Json;
using Dmb.Tests.Backends;
using Microsoft.AspNetCore.Http;

namespace Dmb.Tests.Webhooks;

/// <summary>A backend that holds no connection: its uplink is posted to it, and it answers with messages.</summary>
public sealed class BackendWebhookTests : IAsyncLifetime
{
    private NodeProcess _node = null!;

    public async ValueTask InitializeAsync() => _node = await NodeProcess.StartAsync(("REDIS_HOST", "none"));

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task Its_users_talk_to_a_function_and_hear_its_answers()
    {
        await using var receiver = await Receiver.StartAsync(
            async (context, post) =>
            {
                context.Response.StatusCode = 200;
                if (post == 2)
                {
                    await context.Response.WriteAsync(
                        """{"messages":[{"to":"ann","data":{"echo":1}},{"data":"all"},{"to":"ann","data":3}]}"""
                    );
                }
            }
        );
        var bkid = await RegisterAsync(receiver.Url);
        await using var ann = await TestUser.JoinAsync(_node.Url, bkid, "ann");
        var connect = await receiver.NextAsync();
        Assert.StartsWith(
            $$"""{"type":"connect","bkid":"{{bkid}}","user":"ann",""",
            connect.Body,
            StringComparison.Ordinal
        );
        Assert.Equal(("dmb.dmb:uplink", "ann"), (connect["ce-type"], connect["ce-subject"]));

        await ann.SayAsync("""{"hi":1}""");
        var said = await receiver.NextAsync();
        Assert.Equal("{\"hi\":1}", JsonElement.Parse(said.Body).GetProperty("data").GetRawText());
        await ann.GetsAsync("dmb:direct", """{"echo":1}""");
        await ann.GetsAsync("dmb:broadcast", "\"all\"");
        await ann.GetsAsync("dmb:direct", "3");
    }

    [Fact]
    public async Task A_function_that_registers_at_each_start_keeps_its_webhook_and_secret()
    {
        await using var receiver = await Receiver.StartAsync();
        var bkid = await RegisterAsync(receiver.Url);
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(_node.Url, "/register/backend"),
            $$$"""{"name":"f","bkid":"{{{bkid}}}","webhook":{"url":"{{{receiver.Url}}}"}}"""
        );
        Assert.Equal(HttpStatusCode.Created, status);
        Assert.False(JsonElement.Parse(body).GetProperty("webhook").TryGetProperty("secret", out _));
        Assert.Equal(1, (await _node.GetAsync("/webhooks")).GetProperty("items").GetArrayLength());

        using var freed = await _node.Http.DeleteAsync(new Uri($"/register/backend/{bkid}", UriKind.Relative));
        Assert.Equal(HttpStatusCode.NoContent, freed.StatusCode);
        Assert.Equal(0, (await _node.GetAsync("/webhooks")).GetProperty("items").GetArrayLength());
    }

    [Theory]
    [InlineData("no JSON")]
    [InlineData("""{"messages":1}""")]
    [InlineData("""{"messages":[1]}""")]
    [InlineData("""{"messages":[{"to":"ann"}]}""")]
    [InlineData("[]")]
    public async Task An_answer_that_is_none_is_told_and_ends_nothing(string answer)
    {
        await using var receiver = await Receiver.StartAsync(
            async (context, post) =>
            {
                context.Response.StatusCode = 200;
                await context.Response.WriteAsync(post == 2 ? answer : """{"messages":[{"to":"ann","data":1}]}""");
            }
        );
        var bkid = await RegisterAsync(receiver.Url);
        await using var ann = await TestUser.JoinAsync(_node.Url, bkid, "ann");
        await ann.GetsAsync("dmb:direct", "1");
        await ann.SayAsync("1");
        await ann.SayAsync("2");
        await ann.GetsAsync("dmb:direct", "1");
        await _node.LogAsync("is not sent, or not all of it");
    }

    private async Task<string> RegisterAsync(Uri url)
    {
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(_node.Url, "/register/backend"),
            $$$"""{"name":"f","webhook":{"url":"{{{url}}}"}}"""
        );
        Assert.True(status == HttpStatusCode.Created, body);
        Assert.StartsWith(
            "whsec_",
            JsonElement.Parse(body).GetProperty("webhook").GetProperty("secret").GetString(),
            StringComparison.Ordinal
        );
        return JsonElement.Parse(body).GetProperty("bkid").GetString()!;
    }
}
