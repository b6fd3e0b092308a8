"""Between the classes that the toolchain makes of the contract and those of rectool_plugin."""

from componentize_py_types import Err
from rectool_plugin import Column, ColumnType, Refusal
from rectool_plugin.columns import pack_texts, unpack_texts
from wit_world.exports import about
from wit_world.imports import types

ELEMENTS = {"float32": types.Element.FLOAT32, "int64": types.Element.INT64, "text": types.Element.TEXT}
NAMES = {element: name for name, element in ELEMENTS.items()}


def value_of(kind: str, value):
    return getattr(types, f"Value_{kind.capitalize()}")(value)


def description_of(plugin) -> about.Description:
    parameters = [
        about.ParameterType(
            name=parameter.name,
            value_type=about.ValueType[parameter.type.upper()],
            default=None if parameter.default is None else value_of(parameter.type, parameter.default),
            min=parameter.min,
            max=parameter.max,
            choices=list(parameter.choices),
            unit=parameter.unit,
            help=parameter.help,
        )
        for parameter in plugin.parameters
    ]
    return about.Description(plugin.name, plugin.version, plugin.summary, parameters)


def parameters_from(parameters) -> dict:
    return {parameter.name: parameter.value.value for parameter in parameters}


def type_from(column) -> ColumnType:
    jagged = isinstance(column.shape, types.Shape_Jagged)
    width = 0 if jagged else column.shape.value
    return ColumnType(column.name, NAMES[column.element], jagged, width, column.members)


def type_to(column: ColumnType):
    shape = types.Shape_Jagged() if column.jagged else types.Shape_Fixed(column.width)
    return types.ColumnType(column.name, ELEMENTS[column.element], shape, list(column.members))


def texts_from(texts) -> list:
    return unpack_texts(texts.offsets, texts.bytes, texts.validity)


def column_from(column) -> Column:
    value = column.value
    match column:
        case types.Column_Floats():
            return Column("float32", value)
        case types.Column_Ints():
            return Column("int64", value)
        case types.Column_Texts():
            return Column("text", texts_from(value))
        case types.Column_FloatLists():
            return Column("float32", value.values, value.offsets)
        case types.Column_IntLists():
            return Column("int64", value.values, value.offsets)
    return Column("text", texts_from(value.values), value.offsets)


def column_to(column: Column):
    if column.element == "text":
        texts = types.Texts(*pack_texts(column.values))
        if column.offsets is None:
            return types.Column_Texts(texts)
        return types.Column_TextLists(types.TextLists(column.offsets, texts))
    if column.element == "int64":
        if column.offsets is None:
            return types.Column_Ints(column.values)
        return types.Column_IntLists(types.IntLists(column.offsets, column.values))
    if column.offsets is None:
        return types.Column_Floats(column.values)
    return types.Column_FloatLists(types.FloatLists(column.offsets, column.values))


def refusing(call):
    """The call, with a Refusal turned into the contract's fault."""

    def refused(*arguments):
        try:
            return call(*arguments)
        except Refusal as refusal:
            raise Err(types.Fault(str(refusal), refusal.row)) from None
        except Exception as error:  # the plugin's own mistake: say where, not only that it trapped
            raise Err(types.Fault(described(error), None)) from None

    return refused


def described(error: Exception) -> str:
    where = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f" (in {code.co_name}, {code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{where}"
