using System.Net.Http.Json;
using System.Text.Json;

namespace Dmb.Tests.Endpoints;

/// <summary>GET /backend/{bkid}/uplink/stored: what users said, whatever it is.</summary>
public sealed class StoredUplinkTests(NodeFixture fixture) : IClassFixture<NodeFixture>
{
    private readonly Node _node = fixture.Node;

    [Theory]
    [InlineData("\"not\\ud800Unicode\"")]
    [InlineData("[1e2, 98765432109876543210,\n\"\\u00e4\"]")]
    [InlineData(
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
    )]
    public async Task A_stored_uplink_is_given_as_it_was_said(string data)
    {
        using var registered = await _node.Http.PostAsJsonAsync(
            new Uri(_node.Url, "/register/backend"),
            new { name = "billing" }
        );
        var bkid = (await registered.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("bkid").GetString();
        var stored = new Uri(_node.Url, $"/backend/{bkid}/uplink/stored");
        Assert.Equal("[]", await _node.Http.GetStringAsync(stored));

        await using var user = await _node.ConnectAsync();
        await user.AckAsync("dmb:connect", $$"""{"service":"{{bkid}}","user":"alice"}""");
        var said = await user.AckAsync("dmb:message", $$"""{"data":{{data}}}""");
        Assert.Contains("\"ok\":true", said, StringComparison.Ordinal);
        Assert.Contains(
            $",\"data\":{data},\"time\":",
            await _node.Http.GetStringAsync(stored),
            StringComparison.Ordinal
        );
    }
}
