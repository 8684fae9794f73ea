using System.Net;
using System.Text.Json;

namespace Dmb.Tests.Backends;

/// <summary>
/// What a node that runs alone keeps of backends, and for how long, with a clock that the test moves.
/// </summary>
public sealed class EmbeddedBackendTests : IAsyncLifetime
{
    private static readonly TimeSpan Life = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Moment = TimeSpan.FromMilliseconds(1);
    private Node _node = null!;

    public async ValueTask InitializeAsync() =>
        _node = await Node.StartAsync(
            ("BackendTtl", "60"),
            ("UplinkMessages", "3"),
            ("MaxBackends", "2"),
            ("SilentTimeout", "7200"),
            ("PingInterval", "3600")
        );

    public ValueTask DisposeAsync() => _node.DisposeAsync();

    [Fact]
    public async Task A_list_of_backends_has_no_expired_ones_and_does_not_count_as_use()
    {
        var bkid = await RegisterAsync();
        _node.Time.Advance(Life - Moment);
        Assert.Contains(bkid, await _node.Http.GetStringAsync(new Uri(_node.Url, "/backends")));
        Assert.Contains(bkid, await _node.Http.GetStringAsync(new Uri(_node.Url, "/backends?bkid=" + bkid)));
        _node.Time.Advance(Moment);
        Assert.DoesNotContain(bkid, await _node.Http.GetStringAsync(new Uri(_node.Url, "/backends")));
        Assert.DoesNotContain(bkid, await _node.Http.GetStringAsync(new Uri(_node.Url, "/backends?bkid=" + bkid)));
    }

    [Fact]
    public async Task A_registration_lives_for_its_time_after_its_last_use_and_no_longer()
    {
        var bkid = await RegisterAsync();
        foreach (
            var use in (Func<Task>[])
                [
                    () => SendAsync(bkid),
                    () => RegisterAsync(bkid),
                    () => _node.Http.GetAsync(new Uri($"/backend/{bkid}/uplink/stored", UriKind.Relative)),
                    async () =>
                    {
                        await using var user = await TestUser.JoinAsync(_node.Url, bkid, "u");
                        await user.Client.AckAsync("dmb:disconnect", "null");
                    },
                ]
        )
        {
            _node.Time.Advance(Life - Moment);
            await use();
        }

        _node.Time.Advance(Life - Moment);
        Assert.Equal(HttpStatusCode.OK, await SendAsync(bkid));
        _node.Time.Advance(Life);
        Assert.Equal(HttpStatusCode.NotFound, await SendAsync(bkid));

        // It may come back, also under another name, as one that nobody knew.
        Assert.Equal(bkid, await RegisterAsync(bkid, "another"));
        Assert.Equal(
            "[]",
            await _node.Http.GetStringAsync(new Uri($"/backend/{bkid}/uplink/stored", UriKind.Relative))
        );
    }

    [Fact]
    public async Task A_backend_that_has_a_user_does_not_expire()
    {
        var bkid = await RegisterAsync();
        await using var user = await TestUser.JoinAsync(_node.Url, bkid, "u");
        _node.Time.Advance(Life * 10);
        Assert.Equal(HttpStatusCode.OK, await SendAsync(bkid));
        await user.GetsAsync("dmb:broadcast", "1");
    }

    [Fact]
    public async Task The_newest_uplinks_are_stored()
    {
        var bkid = await RegisterAsync();
        await using var user = await TestUser.JoinAsync(_node.Url, bkid, "u");
        for (var i = 0; i < 5; i++)
        {
            await user.SayAsync($"{i}");
        }

        var stored = JsonElement.Parse(
            await _node.Http.GetStringAsync(new Uri($"/backend/{bkid}/uplink/stored?after=long-gone", UriKind.Relative))
        );
        Assert.Equal(
            [2, 3, 4],
            stored.EnumerateArray().Select(one => one.GetProperty("uplink").GetProperty("data").GetInt32())
        );
    }

    [Fact]
    public async Task A_backend_too_many_is_refused_until_one_expires()
    {
        var (first, _) = (await RegisterAsync(), await RegisterAsync());
        var (status, body) = await HttpBackend.PostAsync(new Uri(_node.Url, "/register/backend"), """{"name":"x"}""");
        Assert.Equal(
            (HttpStatusCode.ServiceUnavailable, "rate_limited"),
            (status, JsonElement.Parse(body).GetProperty("code").GetString())
        );
        Assert.Equal(first, await RegisterAsync(first));

        _node.Time.Advance(Life);
        await RegisterAsync();
    }

    [Fact]
    public async Task A_message_id_is_remembered_for_its_window_apart_from_idempotency_keys()
    {
        var bkid = await RegisterAsync();
        using var push = new HttpRequestMessage(HttpMethod.Post, "/_notify/call") { Content = new StringContent("1") };
        push.Headers.Add("Idempotency-Key", $"{bkid} m1");
        using var pushed = await _node.Http.SendAsync(push);

        Assert.DoesNotContain("duplicate", await AskAsync(), StringComparison.Ordinal);
        _node.Time.Advance(Life - Moment);
        for (var i = 0; i < 5; i++)
        {
            Assert.Contains("\"duplicate\":true", await AskAsync(), StringComparison.Ordinal);
            _node.Time.Advance(TimeSpan.FromSeconds(48));
        }

        _node.Time.Advance(Moment);
        Assert.DoesNotContain("duplicate", await AskAsync(), StringComparison.Ordinal);

        async Task<string> AskAsync()
        {
            var (status, body) = await HttpBackend.PostAsync(
                new Uri(_node.Url, $"/backend/{bkid}/messages"),
                """{"id":"m1","data":1}"""
            );
            Assert.Equal(HttpStatusCode.OK, status);
            return body;
        }
    }

    private async Task<string> RegisterAsync(string? bkid = null, string name = "x")
    {
        var (status, body) = await HttpBackend.PostAsync(
            new Uri(_node.Url, "/register/backend"),
            $$"""{"name":"{{name}}"{{(bkid is null ? "" : $",\"bkid\":\"{bkid}\"")}}}"""
        );
        Assert.Equal(HttpStatusCode.Created, status);
        var own = JsonElement.Parse(body).GetProperty("bkid").GetString()!;
        Assert.Equal($$"""{"bkid":"{{own}}","channel":"dmb:{{own}}","uplink":"dmb:uplink","ttl_s":60}""", body);
        return own;
    }

    private async Task<HttpStatusCode> SendAsync(string bkid) =>
        (await HttpBackend.PostAsync(new Uri(_node.Url, $"/backend/{bkid}/messages"), """{"data":1}""")).Status;
}
