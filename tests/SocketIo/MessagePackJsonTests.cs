using System.Text;
using Dmb.Redis;

namespace Dmb.Tests.SocketIo;

/// <summary>MessagePack as JSON (MessagePack specification, "Formats"), and what is neither.</summary>
public sealed class MessagePackJsonTests
{
    private const int DepthMax = 8;

    [Theory]
    [InlineData("C0", "null")]
    [InlineData("C2", "false")]
    [InlineData("C3", "true")]
    [InlineData("00", "0")]
    [InlineData("7F", "127")]
    [InlineData("FF", "-1")]
    [InlineData("E0", "-32")]
    [InlineData("CCFF", "255")]
    [InlineData("CDFFFF", "65535")]
    [InlineData("CEFFFFFFFF", "4294967295")]
    [InlineData("CFFFFFFFFFFFFFFFFF", "18446744073709551615")]
    [InlineData("D080", "-128")]
    [InlineData("D18000", "-32768")]
    [InlineData("D280000000", "-2147483648")]
    [InlineData("D38000000000000000", "-9223372036854775808")]
    [InlineData("CA3F000000", "0.5")]
    [InlineData("CBBFE0000000000000", "-0.5")]
    [InlineData("CB7FF0000000000000", "null")]
    [InlineData("A0", "\"\"")]
    [InlineData("A161", "\"a\"")]
    [InlineData("D90161", "\"a\"")]
    [InlineData("DA000161", "\"a\"")]
    [InlineData("DB0000000161", "\"a\"")]
    [InlineData("90", "[]")]
    [InlineData("9201C0", "[1,null]")]
    [InlineData("DC000101", "[1]")]
    [InlineData("DD0000000101", "[1]")]
    [InlineData("81A16101", "{\"a\":1}")]
    [InlineData("DE0001A16190", "{\"a\":[]}")]
    [InlineData("DF00000001A16180", "{\"a\":{}}")]
    public void A_value_has_its_JSON_form(string hex, string json)
    {
        var reader = new MessagePackJson(Convert.FromHexString(hex), DepthMax);
        Assert.Equal(json, Encoding.UTF8.GetString(reader.ReadJson()));
        Assert.True(reader.IsAtEnd);
    }

    [Theory]
    [InlineData("")]
    [InlineData("C1")]
    [InlineData("C40101")]
    [InlineData("D40000")]
    [InlineData("C70100FF")]
    [InlineData("A261")]
    [InlineData("DBFFFFFFFF61")]
    [InlineData("DDFFFFFFFF01")]
    [InlineData("DFFFFFFFFF")]
    [InlineData("9201")]
    [InlineData("810101")]
    [InlineData("CD01")]
    [InlineData("91919191919191919190")]
    public void Other_values_have_none(string hex) =>
        Assert.Throws<FormatException>(() =>
        {
            var reader = new MessagePackJson(Convert.FromHexString(hex), DepthMax);
            reader.ReadJson();
        });
}
