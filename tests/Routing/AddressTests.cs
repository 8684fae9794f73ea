using System.Text;
using System.Text.Json;
using Dmb.Routing;

namespace Dmb.Tests.Routing;

public sealed class AddressTests
{
    [Theory]
    [InlineData("""{"endpoint":"1234"}""", "endpoint:1234")]
    [InlineData("""{"endpoint":1234}""", "endpoint:1234")]
    [InlineData("""{"endpoint":1234.0}""", "endpoint:1234")]
    [InlineData("""{"endpoint":1.234e3}""", "endpoint:1234")]
    [InlineData("""{"endpoint":1e400}""", "endpoint:1e400")]
    [InlineData("""{"endpoint":12345678901234567890}""", "endpoint:12345678901234567890")]
    [InlineData("""{"endpoint":true}""", "endpoint:true")]
    [InlineData("""{"\u0065ndpoint":"12\u00334"}""", "endpoint:1234")]
    [InlineData("""{"endpoint":"1","endpoint":"2"}""", "endpoint:2")]
    [InlineData("""{"endpoint":"1","endpoint":null}""", null)]
    [InlineData("""{"endpoint":""}""", null)]
    [InlineData("""{"endpoint":"a b"}""", null)]
    [InlineData("""{"endpoint":["1"]}""", null)]
    [InlineData("""{"endpoint":{"endpoint":"1"}}""", null)]
    [InlineData("""{"a":{"endpoint":"1"}}""", null)]
    [InlineData("""[{"endpoint":"1"}]""", null)]
    [InlineData(""" "endpoint" """, null)]
    [InlineData("""{"endpoint":"\ud800"}""", null)]
    [InlineData("""{"endpoint":"*"}""", null)]
    public void An_endpoint_is_a_scalar_at_the_top_of_an_object(string json, string? room) =>
        Assert.Equal(room, Read(json).Endpoint);

    [Theory]
    [InlineData("""{"_in":"number:1"}""", "number:1", 0)]
    [InlineData("""{"_in":["number:1","number:2"]}""", "number:1 number:2", 0)]
    [InlineData("""{"_in":["support",1,null,{"_in":"a:1"},["b:1"],"c:1"]}""", "c:1", 5)]
    [InlineData("""{"_in":"support"}""", "", 1)]
    [InlineData("""{"_in":[]}""", "", 0)]
    [InlineData("""{"_in":["endpoint:*","a:1"]}""", "a:1", 1)]
    [InlineData("""{"_in":{"a":"b:1"}}""", "", 1)]
    [InlineData("""{"_in":"a:1","_in":"b:1"}""", "b:1", 0)]
    [InlineData("""{"_in":["a:1","x",1],"_in":["b:1","y"]}""", "b:1", 1)]
    [InlineData(
        """{"_in":["\ud83d\ude00:1","a:\ud83d\ude00","\udc00:1","a:\ud83dx","a:\ud83d\u0031","a:\\ud83d"]}""",
        "a:😀 a:\\ud83d",
        4
    )]
    [InlineData("""{"a":{"_in":"b:1"}}""", "", 0)]
    [InlineData("""{"_in":["\ud800:1","a:\u0031"]}""", "a:1", 1)]
    public void In_names_notification_rooms_and_the_rest_is_left_out_and_counted(string json, string rooms, int leftOut)
    {
        var address = Read(json);

        Assert.Equal(rooms, string.Join(' ', address.In ?? []));
        Assert.Equal(leftOut, address.LeftOut);
    }

    [Fact]
    public void The_whole_value_is_read_with_any_content()
    {
        var json = Encoding.UTF8.GetBytes("""{"a":[{"_in":1}],"_in":[[1],{"x":[]}],"endpoint":{"y":{}},"b":2} """);
        var reader = new Utf8JsonReader(json);
        reader.Read();

        Address.Read(ref reader);

        Assert.Equal(json.Length - 1, reader.BytesConsumed);
    }

    private static Address Read(string json)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        reader.Read();
        return Address.Read(ref reader);
    }
}
